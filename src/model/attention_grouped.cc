// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with optional q/k norm, biases, sliding window and sinks.
#include <algorithm>
#include <cstring>

#include "model/forward.h"

namespace deepshock {
namespace {

// q or k [T, heads * head_dim]: norm, then rope, in place.
void NormAndRotate(ForwardContext& context, const Matrix& norm, int64_t heads, const Batch& batch, float* x) {
  const AttentionSpec& a = context.spec.attention;
  const auto eps = static_cast<float>(context.spec.norm_eps);
  if (a.qk_norm == QkNorm::kPerHead) RmsNorm(context.compute, norm, eps, x, batch.size() * heads, x);
  if (a.qk_norm == QkNorm::kWhole) RmsNorm(context.compute, norm, eps, x, batch.size(), x);
  for (int64_t t = 0; t < batch.size(); ++t) {
    const Rope::Angles& angles = batch.angles[batch.rows[static_cast<size_t>(t)].angles];
    for (int64_t h = 0; h < heads; ++h) context.rope.Apply(angles, x + (t * heads + h) * a.head_dim);
  }
}

}  // namespace

void GroupedAttention(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int state_layer,
                      const Batch& batch, const float* x, float* out) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), heads = a.num_heads, kv_heads = a.num_kv_heads;
  const int64_t k_width = kv_heads * a.head_dim, v_width = kv_heads * a.v_head_dim;
  std::vector<float> q(static_cast<size_t>(num_tokens * heads * a.head_dim));
  std::vector<float> k(static_cast<size_t>(num_tokens * k_width));
  std::vector<float> v(static_cast<size_t>(num_tokens * v_width));
  MatMul(compute, w.q, w.q_bias, x, num_tokens, q.data());
  MatMul(compute, w.k, w.k_bias, x, num_tokens, k.data());
  MatMul(compute, w.v, w.v_bias, x, num_tokens, v.data());
  NormAndRotate(context, w.q_norm, heads, batch, q.data());
  NormAndRotate(context, w.k_norm, kv_heads, batch, k.data());

  const int64_t width = k_width + v_width;  // floats of one token's state
  for (int64_t t = 0; t < num_tokens; ++t) {
    const BatchRow& row = batch.rows[static_cast<size_t>(t)];
    float* to = row.kv->layers[static_cast<size_t>(state_layer)] + row.position * width;
    std::memcpy(to, k.data() + t * k_width, static_cast<size_t>(k_width) * sizeof(float));
    std::memcpy(to + k_width, v.data() + t * v_width, static_cast<size_t>(v_width) * sizeof(float));
  }

  const std::vector<float> sinks = w.sinks ? DecodeVector(w.sinks) : std::vector<float>();
  const auto scale = static_cast<float>(a.softmax_scale);
  std::vector<float> mixed(static_cast<size_t>(num_tokens * heads * a.v_head_dim));
  compute.pool->ParallelFor(num_tokens * heads, 1, [&](int64_t begin, int64_t, int thread) {
    const int64_t t = begin / heads, h = begin % heads;
    const int64_t kv_head = h / (heads / kv_heads);
    const BatchRow& row = batch.rows[static_cast<size_t>(t)];
    const float* state = row.kv->layers[static_cast<size_t>(state_layer)];
    const bool windowed = layer.is_sliding && a.sliding_window > 0;
    const int64_t first = windowed ? std::max<int64_t>(0, row.position - a.sliding_window + 1) : 0;
    const int64_t count = row.position - first + 1;
    float* scores = compute.Scratch(thread, count + 1);
    const float* query = q.data() + (t * heads + h) * a.head_dim;
    for (int64_t j = 0; j < count; ++j) {
      const float* key = state + (first + j) * width + kv_head * a.head_dim;
      scores[j] = compute.kernels->dot(query, key, a.head_dim) * scale;
    }
    // A sink is one more logit that takes weight and gives no value.
    if (!sinks.empty()) scores[count] = sinks[static_cast<size_t>(h)];
    compute.kernels->softmax(scores, count + (sinks.empty() ? 0 : 1));
    float* mix = mixed.data() + (t * heads + h) * a.v_head_dim;
    std::fill_n(mix, a.v_head_dim, 0.0f);
    for (int64_t j = 0; j < count; ++j) {
      const float* value = state + (first + j) * width + k_width + kv_head * a.v_head_dim;
      compute.kernels->axpy(scores[j], value, mix, a.v_head_dim);
    }
  });
  MatMul(compute, w.output, w.output_bias, mixed.data(), num_tokens, out);
}

}  // namespace deepshock
