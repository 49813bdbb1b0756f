// SPDX-License-Identifier: Apache-2.0
// What a model takes under a memory limit, told from its file without bringing it anywhere: for sizing a
// machine by a simulation (experts/replay.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct ExpertSizes {
  int num_experts = 0, top_k = 0;  // of each MoE layer, and of these a token's
  std::vector<int32_t> layers;     // those with experts, MTP layers not counted
  int64_t slot_bytes = 0;          // the place that any routed expert fits into, in the kernels' layout
  int64_t always_bytes = 0;        // all weights but routed experts, in whole
  int64_t state_token_bytes = 0;   // of a sequence's state
};

// `kv_type` as in EngineOptions. Fails for a model without experts.
Result<ExpertSizes> ExpertSizesOf(const std::string& model_path, const std::string& kv_type);

}  // namespace deepshock
