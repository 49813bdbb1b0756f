// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) in its absorbed form: queries go into latent
// space (q^T W_UK), attention runs over the cached latents themselves, and the mixed latent comes out through
// W_UV. The cache holds kv_rank + rope_dim floats a token and layer, never the expanded heads.
#include <algorithm>
#include <cstring>

#include "model/forward.h"

namespace deepshock {
namespace {

// q [T, heads * (nope + rope)], the rope part of each head rotated.
std::vector<float> Queries(ForwardContext& context, const LayerWeights& w, const Batch& batch,
                           const float* x) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size();
  std::vector<float> q(static_cast<size_t>(num_tokens * a.num_heads * a.head_dim));
  if (a.q_lora_rank == 0) {
    MatMul(compute, w.q, {}, x, num_tokens, q.data());
  } else {
    std::vector<float> low(static_cast<size_t>(num_tokens * a.q_lora_rank));
    MatMul(compute, w.q_a, {}, x, num_tokens, low.data());
    RmsNorm(compute, w.q_a_norm, static_cast<float>(a.latent_norm_eps), low.data(), num_tokens, low.data());
    MatMul(compute, w.q_b, {}, low.data(), num_tokens, q.data());
  }
  for (int64_t t = 0; t < num_tokens; ++t) {
    const Rope::Angles& angles = batch.angles[batch.rows[static_cast<size_t>(t)].angles];
    for (int64_t h = 0; h < a.num_heads; ++h) {
      context.rope.Apply(angles, q.data() + (t * a.num_heads + h) * a.head_dim + a.nope_dim);
    }
  }
  return q;
}

// Appends [normed latent | rotated key] of every row to the state.
void AppendLatents(ForwardContext& context, const LayerWeights& w, int state_layer, const Batch& batch,
                   const float* x) {
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), width = a.kv_lora_rank + a.rope_dim;
  std::vector<float> latent(static_cast<size_t>(num_tokens * width));
  MatMul(context.compute, w.kv_a, {}, x, num_tokens, latent.data());
  const std::vector<float> norm = DecodeVector(w.kv_a_norm);
  for (int64_t t = 0; t < num_tokens; ++t) {
    const BatchRow& row = batch.rows[static_cast<size_t>(t)];
    float* from = latent.data() + t * width;
    context.compute.kernels->rms_norm(from, norm.data(), static_cast<float>(a.latent_norm_eps),
                                      a.kv_lora_rank, from);
    context.rope.Apply(batch.angles[row.angles], from + a.kv_lora_rank);
    std::memcpy(row.kv->layers[static_cast<size_t>(state_layer)] + row.position * width, from,
                static_cast<size_t>(width) * sizeof(float));
  }
}

// One head's queries of every row into latent space: out [T, kv_rank + rope] = [W_UK^T q_nope | q_rope].
void AbsorbQueries(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w, int64_t head,
                   const std::vector<float>& q, int64_t num_tokens, float* out) {
  const int64_t width = a.kv_lora_rank + a.rope_dim, q_stride = a.num_heads * a.head_dim;
  const float* queries = q.data() + head * a.head_dim;
  if (w.k_b) {
    const Matrix key_up = RowsOf(w.k_b, head * a.kv_lora_rank, a.kv_lora_rank);
    compute.kernels->matmul_rows(key_up, 0, key_up.rows, queries, q_stride, num_tokens, out, width,
                                 compute.Scratch(thread, MatMulScratch(key_up)));
  } else {
    const Matrix key_up = RowsOf(w.kv_b, head * (a.nope_dim + a.v_head_dim), a.nope_dim);
    float* row = compute.Scratch(thread, key_up.cols);
    for (int64_t t = 0; t < num_tokens; ++t) std::fill_n(out + t * width, a.kv_lora_rank, 0.0f);
    for (int64_t n = 0; n < key_up.rows; ++n) {
      compute.kernels->decode_row(key_up, n, row);
      for (int64_t t = 0; t < num_tokens; ++t) {
        compute.kernels->axpy(queries[t * q_stride + n], row, out + t * width, a.kv_lora_rank);
      }
    }
  }
  for (int64_t t = 0; t < num_tokens; ++t) {
    std::memcpy(out + t * width + a.kv_lora_rank, queries + t * q_stride + a.nope_dim,
                static_cast<size_t>(a.rope_dim) * sizeof(float));
  }
}

}  // namespace

void LatentAttention(ForwardContext& context, const LayerWeights& w, int state_layer, const Batch& batch,
                     const float* x, float* out) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), heads = a.num_heads, width = a.kv_lora_rank + a.rope_dim;
  const std::vector<float> q = Queries(context, w, batch, x);
  AppendLatents(context, w, state_layer, batch, x);

  std::vector<float> absorbed(static_cast<size_t>(heads * num_tokens * width));  // [heads, T, rank + rope]
  std::vector<float> mixed(static_cast<size_t>(heads * num_tokens * a.kv_lora_rank),
                           0.0f);                                                     // [heads, T, rank]
  std::vector<float> values(static_cast<size_t>(num_tokens * heads * a.v_head_dim));  // [T, heads * v]
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    AbsorbQueries(compute, thread, a, w, h, q, num_tokens, absorbed.data() + h * num_tokens * width);
  });
  const auto scale = static_cast<float>(a.softmax_scale);
  compute.pool->ParallelFor(heads * num_tokens, 1, [&](int64_t at, int64_t, int thread) {
    const BatchRow& row = batch.rows[static_cast<size_t>(at % num_tokens)];
    const float* state = row.kv->layers[static_cast<size_t>(state_layer)];
    const float* query = absorbed.data() + at * width;
    const int64_t count = row.position + 1;
    float* scores = compute.Scratch(thread, count);
    for (int64_t j = 0; j < count; ++j)
      scores[j] = compute.kernels->dot(query, state + j * width, width) * scale;
    compute.kernels->softmax(scores, count);
    float* mix = mixed.data() + at * a.kv_lora_rank;
    for (int64_t j = 0; j < count; ++j)
      compute.kernels->axpy(scores[j], state + j * width, mix, a.kv_lora_rank);
  });
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    const Matrix value_up = w.v_b
                                ? RowsOf(w.v_b, h * a.v_head_dim, a.v_head_dim)
                                : RowsOf(w.kv_b, h * (a.nope_dim + a.v_head_dim) + a.nope_dim, a.v_head_dim);
    compute.kernels->matmul_rows(value_up, 0, value_up.rows, mixed.data() + h * num_tokens * a.kv_lora_rank,
                                 a.kv_lora_rank, num_tokens, values.data() + h * a.v_head_dim,
                                 heads * a.v_head_dim, compute.Scratch(thread, MatMulScratch(value_up)));
  });
  MatMul(compute, w.output, w.output_bias, values.data(), num_tokens, out);
}

}  // namespace deepshock
