// SPDX-License-Identifier: Apache-2.0
// Every use of the weights that expand MLA's latents, kv_b or k_b and v_b.
#include <algorithm>
#include <cstring>

#include "model/attention.h"

namespace deepshock {

void AbsorbQueries(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w, int64_t head,
                   const float* q, int64_t num_tokens, float* out) {
  const int64_t width = a.kv_lora_rank + a.rope_dim, q_stride = a.num_heads * a.head_dim;
  const float* queries = q + head * a.head_dim;
  if (w.k_b.interleaved) {
    const Matrix key_up = RowsOf(w.k_b, head * a.kv_lora_rank, a.kv_lora_rank);
    const QuantizedRows rows = QuantizeOnThread(compute, thread, queries, q_stride, num_tokens, a.nope_dim);
    compute.kernels->interleaved.matmul(key_up, 0, key_up.rows, rows, nullptr, out, width);
  } else if (w.k_b) {
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

void ExpandMixed(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w, int64_t head,
                 const float* mixed, int64_t num_tokens, float* out) {
  const Matrix value_up = w.v_b
                              ? RowsOf(w.v_b, head * a.v_head_dim, a.v_head_dim)
                              : RowsOf(w.kv_b, head * (a.nope_dim + a.v_head_dim) + a.nope_dim, a.v_head_dim);
  const int64_t stride = int64_t{a.num_heads} * a.v_head_dim;
  float* to = out + head * a.v_head_dim;
  if (value_up.interleaved) {
    const QuantizedRows rows =
        QuantizeOnThread(compute, thread, mixed, a.kv_lora_rank, num_tokens, a.kv_lora_rank);
    compute.kernels->interleaved.matmul(value_up, 0, value_up.rows, rows, nullptr, to, stride);
    return;
  }
  compute.kernels->matmul_rows(value_up, 0, value_up.rows, mixed, a.kv_lora_rank, num_tokens, to, stride,
                               compute.Scratch(thread, MatMulScratch(value_up)));
}

void DecodeExpansion(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w,
                     int64_t head, float* keys, float* values) {
  const Kernels& kernels = *compute.kernels;
  const int64_t rank = a.kv_lora_rank, nope = a.nope_dim, v = a.v_head_dim;
  for (int64_t n = 0; n < v; ++n) {
    const Matrix& from = w.v_b ? w.v_b : w.kv_b;
    kernels.decode_row(from, w.v_b ? head * v + n : head * (nope + v) + nope + n, values + n * rank);
  }
  if (!w.k_b) {
    for (int64_t n = 0; n < nope; ++n) kernels.decode_row(w.kv_b, head * (nope + v) + n, keys + n * rank);
    return;
  }
  constexpr int64_t kRows = 16;  // transposed together, a cache line of each key
  float* rows = compute.Scratch(thread, kRows * nope);
  for (int64_t r = 0; r < rank; r += kRows) {
    const int64_t count = std::min(kRows, rank - r);
    for (int64_t i = 0; i < count; ++i) kernels.decode_row(w.k_b, head * rank + r + i, rows + i * nope);
    for (int64_t n = 0; n < nope; ++n) {
      for (int64_t i = 0; i < count; ++i) keys[n * rank + r + i] = rows[i * nope + n];
    }
  }
}

}  // namespace deepshock
