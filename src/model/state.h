// SPDX-License-Identifier: Apache-2.0
// What layers keep between tokens. The model declares it (StateSpec), the runtime allocates, truncates and
// frees it, and the model reads and appends through KvView. One sequence each. MLA keeps one head whose key
// is [kv_rank normed latent | rope_dim roped key] and whose values are the latent; grouped-query keeps
// kv_heads heads of head_dim keys and v_head_dim values. Tokens lie in groups of 32, in float32, 16 or
// 8 bits: kernels/attention_layout.h has the bytes. Sliding-window layers keep their whole history.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/attention_layout.h"

namespace deepshock {

struct StateSpec {
  std::vector<KvLayout> layers;  // [L + MTP layers], all of one type
  KvType type() const { return layers.empty() ? KvType::kF32 : layers.front().type; }
  int64_t bytes_per_token() const {
    int64_t bytes = 0;
    for (const KvLayout& layer : layers) bytes += layer.group_bytes() / kKvGroup;
    return bytes;
  }
};

struct KvView {
  KvType type = KvType::kF32;
  std::vector<std::byte*> layers;  // [L + MTP layers] base of [capacity / 32 groups], 64-byte aligned
  int64_t capacity = 0;            // tokens
  int64_t length = 0;              // tokens present; Forward appends and advances it
};

}  // namespace deepshock
