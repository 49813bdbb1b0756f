// SPDX-License-Identifier: Apache-2.0
// What layers keep between tokens. The model declares it (StateSpec), the runtime allocates, truncates and
// frees it, and the model reads and appends through KvView. One sequence each; float32. MLA keeps [kv_rank
// normed latent | rope_dim roped key] a token and layer; grouped-query keeps [kv_heads * head_dim keys |
// kv_heads * v_head_dim values].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace deepshock {

struct StateSpec {
  std::vector<int64_t> floats_per_token;  // [L + MTP layers]
};

struct KvView {
  std::vector<float*> layers;  // [L + MTP layers] base of [capacity, floats_per_token[l]]
  int64_t capacity = 0;        // tokens
  int64_t length = 0;          // tokens present; Forward appends and advances it
};

}  // namespace deepshock
