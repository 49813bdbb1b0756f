// SPDX-License-Identifier: Apache-2.0
// Counting what a model's routers choose while it reads text: the measurement behind `deepshock experts
// profile`. Every token that is given counts once in each MoE layer, and nothing else does.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "experts/profile.h"
#include "model/model.h"
#include "runtime/text_sequences.h"

namespace deepshock {

// Runs every sequence from an empty state. The halves are of the records, or of the
// sequences where there is one record only. Gate weights count before the routed scaling factor.
// `progress(done, total)` counts tokens, may be empty, and ends the work with an error by returning false.
Result<RoutingHalves> CountRouting(const Model& model, Compute& compute,
                                   std::span<const TokenSequence> sequences, KvType kv_type,
                                   const std::function<bool(int64_t, int64_t)>& progress);

}  // namespace deepshock
