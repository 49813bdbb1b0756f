// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434). For few rows in its absorbed form: queries go
// into latent space (q^T W_UK), attention runs over the cached latents themselves, and the mixed latent comes
// out through W_UV. For many rows of a sequence keys and values are expanded for the pass
// (attention_expanded.cc). The cache holds kv_rank + rope_dim numbers a token and layer, never the expanded
// heads.
#include <algorithm>

#include "model/attention.h"

namespace deepshock {
namespace {

// q [T, heads * (nope + rope)], the rope part of each head rotated.
BufferPool::Buffer<float> Queries(ForwardContext& context, const LayerWeights& w, const Batch& batch,
                                  Activations& x) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size();
  auto q = compute.buffers.Borrow<float>(num_tokens * a.num_heads * a.head_dim);
  if (a.q_lora_rank == 0) {
    MatMul(compute, w.q, {}, x, q.data());
  } else {
    auto low = compute.buffers.Borrow<float>(num_tokens * a.q_lora_rank);
    MatMul(compute, w.q_a, {}, x, low.data());
    RmsNorm(compute, w.q_a_norm, static_cast<float>(a.latent_norm_eps), low.data(), num_tokens, low.data());
    MatMul(compute, w.q_b, {}, low.data(), num_tokens, q.data());
  }
  RotateHeads(context, batch, a.num_heads, a.head_dim, q.data() + a.nope_dim);
  return q;
}

// [normed latent | rotated key] of every row.
BufferPool::Buffer<float> Latents(ForwardContext& context, const LayerWeights& w, const Batch& batch,
                                  Activations& x) {
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), width = a.kv_lora_rank + a.rope_dim;
  auto latents = context.compute.buffers.Borrow<float>(num_tokens * width);
  MatMul(context.compute, w.kv_a, {}, x, latents.data());
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

// Attention in latent space, where every head's queries meet the cached latents themselves. q and values hold
// the rows that `sequences` count.
void AttendAbsorbed(Compute& compute, const AttentionSpec& a, const LayerWeights& w,
                    const AttentionParams& params, std::span<const AttentionRows> sequences, const float* q,
                    int64_t num_rows, float* values) {
  const int64_t heads = a.num_heads, width = a.kv_lora_rank + a.rope_dim, rank = a.kv_lora_rank;
  auto absorbed = compute.buffers.Borrow<float>(heads * num_rows * width);  // [heads, rows, rank + rope]
  auto mixed = compute.buffers.Borrow<float>(heads * num_rows * rank);      // [heads, rows, rank]
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    AbsorbQueries(compute, thread, a, w, h, q, num_rows, absorbed.data() + h * num_rows * width);
  });
  Attend(compute, params, sequences, {absorbed.data(), width, num_rows * width},
         {mixed.data(), rank, num_rows * rank});
  compute.pool->ParallelFor(heads, 1, [&](int64_t h, int64_t, int thread) {
    ExpandMixed(compute, thread, a, w, h, mixed.data() + h * num_rows * rank, num_rows, values);
  });
}

// Those of `sequences`, which have `num_rows` rows together: their rows of q moved together, and values moved
// back.
void AttendSome(Compute& compute, const AttentionSpec& a, const LayerWeights& w,
                const AttentionParams& params, const std::vector<AttentionRows>& sequences, const float* q,
                int64_t num_rows, float* values) {
  const int64_t q_width = int64_t{a.num_heads} * a.head_dim, v_width = int64_t{a.num_heads} * a.v_head_dim;
  auto some_q = compute.buffers.Borrow<float>(num_rows * q_width);
  auto some_values = compute.buffers.Borrow<float>(num_rows * v_width);
  std::vector<AttentionRows> moved = sequences;
  int64_t row = 0;
  for (AttentionRows& rows : moved) {
    std::copy_n(q + rows.first_row * q_width, rows.num_rows * q_width, some_q.data() + row * q_width);
    rows.first_row = row;
    row += rows.num_rows;
  }
  AttendAbsorbed(compute, a, w, params, moved, some_q.data(), num_rows, some_values.data());
  for (size_t i = 0; i < moved.size(); ++i) {
    std::copy_n(some_values.data() + moved[i].first_row * v_width, moved[i].num_rows * v_width,
                values + sequences[i].first_row * v_width);
  }
}

}  // namespace

void LatentAttention(ForwardContext& context, const LayerWeights& w, int state_layer, const Batch& batch,
                     const float* x, float* out) {
  Compute& compute = context.compute;
  const AttentionSpec& a = context.spec.attention;
  const int64_t num_tokens = batch.size(), width = a.kv_lora_rank + a.rope_dim;
  const int64_t q_width = int64_t{a.num_heads} * a.head_dim, v_width = int64_t{a.num_heads} * a.v_head_dim;
  Activations input(compute, x, num_tokens, context.spec.hidden);
  const auto q = Queries(context, w, batch, input);
  AttentionParams params;
  params.layout = StateLayout(a, batch.rows.front().kv->type);
  params.num_heads = a.num_heads;
  params.scale = static_cast<float>(a.softmax_scale);
  const std::vector<AttentionRows> sequences = SequencesOf(batch, state_layer);
  {
    const auto latents = Latents(context, w, batch, input);
    StoreRows(compute, params.layout, sequences, {latents.data(), width, width}, {nullptr, 0, 0});
  }
  auto values = compute.buffers.Borrow<float>(num_tokens * v_width);  // [T, heads * v]
  std::vector<AttentionRows> absorbed;
  int64_t num_absorbed = 0;
  for (const AttentionRows& rows : sequences) {
    if (WorthExpanding(a, rows.first_position, rows.num_rows)) {
      AttendExpanded(compute, a, w, params.layout, rows, q.data() + rows.first_row * q_width,
                     values.data() + rows.first_row * v_width);
    } else {
      absorbed.push_back(rows);
      num_absorbed += rows.num_rows;
    }
  }
  if (num_absorbed == num_tokens) {
    AttendAbsorbed(compute, a, w, params, absorbed, q.data(), num_tokens, values.data());
  } else if (num_absorbed > 0) {
    AttendSome(compute, a, w, params, absorbed, q.data(), num_absorbed, values.data());
  }
  MatMul(compute, w.output, w.output_bias, values.data(), num_tokens, out);
}

}  // namespace deepshock
