// SPDX-License-Identifier: Apache-2.0
// Attention spread over the thread pool: storing a pass's keys and values, and attending to what is stored.
// Work is split over sequences, key-value heads and tiles of queries, and where these are few, over spans of
// keys too, so that one long sequence fills all threads. What a row gets does not depend on how
// (attention.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/ops.h"

namespace deepshock {

// Rows [first_row, first_row + num_rows) of a pass are one sequence's tokens from first_position on.
struct AttentionRows {
  std::byte* state;  // the layer's groups of this sequence
  int64_t first_position;
  int64_t first_row;
  int64_t num_rows;
};

// [row, head, dim] in memory: element (r, h, d) is data[r * row_stride + h * head_stride + d].
template <typename T>
struct HeadRows {
  T* data;
  int64_t row_stride;
  int64_t head_stride;
};

struct AttentionParams {
  KvLayout layout;
  int64_t num_heads;             // of queries: a multiple of layout.num_heads
  float scale;                   // of scores
  int64_t window = 0;            // tokens that a query sees, its own included; 0: all before it
  const float* sinks = nullptr;  // [num_heads] one logit a head that joins the softmax and is dropped
};

// Writes every row's keys and values to its place; `values` is ignored where they are shared with the keys.
void StoreRows(Compute& compute, const KvLayout& layout, std::span<const AttentionRows> sequences,
               const HeadRows<const float>& keys, const HeadRows<const float>& values);

// out [T, num_heads, value_dim] = attention of queries [T, num_heads, key_dim] over the stored tokens up to
// and including each row's own.
void Attend(Compute& compute, const AttentionParams& params, std::span<const AttentionRows> sequences,
            const HeadRows<const float>& queries, const HeadRows<float>& out);

}  // namespace deepshock
