// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <algorithm>

namespace deepshock {

KvLayout StateLayout(const AttentionSpec& attention, KvType type) {
  KvLayout layout;
  layout.type = type;
  if (attention.kind == AttentionKind::kLatent) {
    layout.key_dim = int64_t{attention.kv_lora_rank} + attention.rope_dim;
    layout.key_split = attention.kv_lora_rank;
    layout.value_dim = attention.kv_lora_rank;
    layout.shared_values = true;
  } else {
    layout.num_heads = attention.num_kv_heads;
    layout.key_dim = attention.head_dim;
    layout.value_dim = attention.v_head_dim;
  }
  return layout;
}

std::vector<AttentionRows> SequencesOf(const Batch& batch, int state_layer) {
  std::vector<AttentionRows> sequences;
  const KvView* last = nullptr;
  for (int64_t t = 0; t < batch.size(); ++t) {
    const BatchRow& row = batch.rows[static_cast<size_t>(t)];
    if (row.kv != last) {
      sequences.push_back({row.kv->layers[static_cast<size_t>(state_layer)], row.position, t, 0});
      last = row.kv;
    }
    ++sequences.back().num_rows;
  }
  return sequences;
}

void RotateHeads(ForwardContext& context, const Batch& batch, int64_t heads, int64_t head_stride, float* x) {
  constexpr int64_t kMinTaskHeads = 64;  // some microseconds
  const int64_t grain = std::max<int64_t>(1, kMinTaskHeads / heads);
  context.compute.pool->ParallelFor(batch.size(), grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const Rope::Angles& angles = batch.angles[batch.rows[static_cast<size_t>(t)].angles];
      for (int64_t h = 0; h < heads; ++h) context.rope.Apply(angles, x + (t * heads + h) * head_stride);
    }
  });
}

}  // namespace deepshock
