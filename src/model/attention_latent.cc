// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) in its absorbed form: queries go into latent
// space (q^T W_UK), attention runs over the cached latents themselves, and the mixed latent comes out through
// W_UV. The cache holds kv_rank + rope_dim floats a token and layer, never the expanded heads.
#include "model/attention.h"

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
  RotateHeads(context, batch, a.num_heads, a.head_dim, q.data() + a.nope_dim);
  return q;
}

// [normed latent | rotated key] of every row.
std::vector<float> Latents(ForwardContext& context, const LayerWeights& w, const Batch& batch,
                           const float* x) {
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), width = a.kv_lora_rank + a.rope_dim;
  std::vector<float> latents(static_cast<size_t>(num_tokens * width));
  MatMul(context.compute, w.kv_a, {}, x, num_tokens, latents.data());
  const std::vector<float> norm = DecodeVector(w.kv_a_norm);
  context.compute.pool->ParallelFor(num_tokens, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* latent = latents.data() + t * width;
      context.compute.kernels->rms_norm(latent, norm.data(), static_cast<float>(a.latent_norm_eps),
                                        a.kv_lora_rank, latent);
    }
  });
  RotateHeads(context, batch, 1, width, latents.data() + a.kv_lora_rank);
  return latents;
}

// Attention in latent space, where every head's queries meet the cached latents themselves.
void AttendAbsorbed(Compute& compute, const AttentionSpec& a, const LayerWeights& w,
                    const AttentionParams& params, std::span<const AttentionRows> sequences,
                    const std::vector<float>& q, int64_t num_tokens, float* values) {
  const int64_t heads = a.num_heads, width = a.kv_lora_rank + a.rope_dim, rank = a.kv_lora_rank;
  std::vector<float> absorbed(static_cast<size_t>(heads * num_tokens * width));  // [heads, T, rank + rope]
  std::vector<float> mixed(static_cast<size_t>(heads * num_tokens * rank));      // [heads, T, rank]
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    AbsorbQueries(compute, thread, a, w, h, q.data(), num_tokens, absorbed.data() + h * num_tokens * width);
  });
  Attend(compute, params, sequences, {absorbed.data(), width, num_tokens * width},
         {mixed.data(), rank, num_tokens * rank});
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    ExpandMixed(compute, thread, a, w, h, mixed.data() + h * num_tokens * rank, num_tokens, values);
  });
}

}  // namespace

void LatentAttention(ForwardContext& context, const LayerWeights& w, int state_layer, const Batch& batch,
                     const float* x, float* out) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), width = a.kv_lora_rank + a.rope_dim;
  const std::vector<float> q = Queries(context, w, batch, x);
  const std::vector<float> latents = Latents(context, w, batch, x);
  AttentionParams params;
  params.layout = StateLayout(a, batch.rows.front().kv->type);
  params.num_heads = a.num_heads;
  params.scale = static_cast<float>(a.softmax_scale);
  const std::vector<AttentionRows> sequences = SequencesOf(batch, state_layer);
  StoreRows(compute, params.layout, sequences, {latents.data(), width, width}, {nullptr, 0, 0});
  std::vector<float> values(static_cast<size_t>(num_tokens * a.num_heads * a.v_head_dim));
  AttendAbsorbed(compute, a, w, params, sequences, q, num_tokens, values.data());
  MatMul(compute, w.output, w.output_bias, values.data(), num_tokens, out);
}

}  // namespace deepshock
