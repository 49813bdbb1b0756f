// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with optional q/k norm, biases, sliding window and sinks.
#include "model/attention.h"

namespace deepshock {
namespace {

// q or k [T, heads * head_dim]: norm, then rope, in place.
void NormAndRotate(ForwardContext& context, const Matrix& norm, int64_t heads, const Batch& batch, float* x) {
  const AttentionSpec& a = context.spec.attention;
  const auto eps = static_cast<float>(context.spec.norm_eps);
  if (a.qk_norm == QkNorm::kPerHead) RmsNorm(context.compute, norm, eps, x, batch.size() * heads, x);
  if (a.qk_norm == QkNorm::kWhole) RmsNorm(context.compute, norm, eps, x, batch.size(), x);
  RotateHeads(context, batch, heads, a.head_dim, x);
}

}  // namespace

void GroupedAttention(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int state_layer,
                      const Batch& batch, const float* x, float* out) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), heads = a.num_heads, kv_heads = a.num_kv_heads;
  const int64_t k_width = kv_heads * a.head_dim, v_width = kv_heads * a.v_head_dim;
  auto q = compute.buffers.Borrow<float>(num_tokens * heads * a.head_dim);
  auto k = compute.buffers.Borrow<float>(num_tokens * k_width);
  auto v = compute.buffers.Borrow<float>(num_tokens * v_width);
  Activations input(compute, x, num_tokens, context.spec.hidden);
  MatMul(compute, w.q, w.q_bias, input, q.data());
  MatMul(compute, w.k, w.k_bias, input, k.data());
  MatMul(compute, w.v, w.v_bias, input, v.data());
  NormAndRotate(context, w.q_norm, heads, batch, q.data());
  NormAndRotate(context, w.k_norm, kv_heads, batch, k.data());

  AttentionParams params;
  params.layout = StateLayout(a, batch.rows.front().kv->type);
  params.num_heads = heads;
  params.scale = static_cast<float>(a.softmax_scale);
  params.window = layer.is_sliding ? a.sliding_window : 0;
  const std::vector<float> sinks = w.sinks ? DecodeVector(w.sinks) : std::vector<float>();
  if (!sinks.empty()) params.sinks = sinks.data();
  const std::vector<AttentionRows> sequences = SequencesOf(batch, state_layer);
  StoreRows(compute, params.layout, sequences, {k.data(), k_width, a.head_dim},
            {v.data(), v_width, a.v_head_dim});
  auto mixed = compute.buffers.Borrow<float>(num_tokens * heads * a.v_head_dim);
  Attend(compute, params, sequences, {q.data(), heads * a.head_dim, a.head_dim},
         {mixed.data(), heads * a.v_head_dim, a.v_head_dim});
  MatMul(compute, w.output, w.output_bias, mixed.data(), num_tokens, out);
}

}  // namespace deepshock
