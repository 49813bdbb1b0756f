// SPDX-License-Identifier: Apache-2.0
// What an engine does with a model's experts before the first request: which policy keeps them in memory,
// which are loaded first, and which stay. Called once by Engine::PrepareExperts, on its thread, between
// passes.
#pragma once

#include <string>

#include "base/result.h"
#include "deepshock/engine.h"
#include "model/model.h"

namespace deepshock {

// Where the groups of a model are looked for: the file beside it, and for MODEL.repacked.gguf the one beside
// MODEL.gguf where there is none.
std::string FindGroupsPath(const std::string& model_path);

Result<ExpertReport> PrepareExperts(const Model& model, const std::string& model_path,
                                    const ExpertOptions& options);

// The experts that are in memory, the most useful first, into `path`. Fails for a model whose experts are all
// at hand.
Status SaveWarmSet(const Model& model, const std::string& path);

}  // namespace deepshock
