// SPDX-License-Identifier: Apache-2.0
// A model under a memory limit: what must always be at hand (all but routed experts) is read into memory, and
// routed experts are left on disk for a DiskStore to bring. Used by Model::Load.
#pragma once

#include <memory>

#include "base/memory_budget.h"
#include "experts/disk_store.h"
#include "model/model.h"
#include "model/source.h"

namespace deepshock {

// Of a repacked file, whose views in `weights` lie in its mapping: moves them, and makes the store. Without
// routed experts, or where the limit is for weights at hand only, store stays empty.
Result<ModelMemory> PlaceRepacked(const ModelSpec& spec, const WeightSource& source, const MemoryLimit& limit,
                                  ModelWeights* weights);

// Of a file that is used whole: fails unless it fits. `path` is for the message, which tells what would.
Result<ModelMemory> PlaceWhole(const std::string& path, const ModelSpec& spec, const MemoryLimit& limit,
                               const ModelWeights& weights);

}  // namespace deepshock
