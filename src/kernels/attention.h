// SPDX-License-Identifier: Apache-2.0
// Attention kernels: a second table of function pointers beside Kernels, chosen with it. They compute on the
// calling thread; attention_ops.h spreads them over a pool.
//
// The one order of additions behind a query's result, whatever is computed beside it: keys are cut at
// multiples of kKvSpan tokens into spans, a span at multiples of kKvBlock into blocks. In a block scores are
// computed, their maximum, weights and sum taken and weighted values added up in the order of tokens; blocks
// join a span's running result in turn, and spans the query's (Join). So a query's result depends on its keys
// alone, not on other queries, other sequences or the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/attention_layout.h"
#include "kernels/kernels.h"

namespace deepshock {

inline constexpr int64_t kKvBlock = 128;   // tokens: scores of a tile of queries stay in the L1 cache
inline constexpr int64_t kKvSpan = 256;    // tokens: the least that is handed to a thread
inline constexpr int64_t kQueryTile = 48;  // queries computed together at most

// One key-value head's tokens [span_first, span_first + kKvSpan) against a tile of queries.
struct AttentionSpan {
  const KvLayout* layout;
  const std::byte* part;     // the head's part of the group that holds token span_first
  int64_t group_stride;      // bytes from one group's part to the next
  int64_t span_first;        // a multiple of kKvSpan
  const std::byte* queries;  // [num_queries, QueryBytes]
  int64_t num_queries;       // 1 to kQueryTile
  const int64_t* begin;      // [num_queries] a query sees the tokens [begin, end), which are all stored
  const int64_t* end;        // [num_queries]
};

// A query's result over some keys: with weights e^(score - max), their sum and the sum of weighted values.
// Nothing seen: max = -infinity, sum = 0, values = 0.
struct AttentionResult {
  float* max;     // [num_queries]
  float* sum;     // [num_queries]
  float* values;  // [num_queries, value_pad]
};

struct AttentionKernels {
  std::string_view name;  // of the Kernels it goes with

  // One query times `scale` in the form that attend takes: QueryBytes, 64-byte aligned.
  void (*pack_query)(const KvLayout& layout, const float* query, float scale, std::byte* packed);
  // scratch: AttentionScratch bytes, 64-byte aligned.
  void (*attend)(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch);
  // The type of state whose products this table computes fastest; what is expanded for a pass takes it.
  KvType fast_type;
  // Stores the first `count` tokens of a group's part, rows `key_stride` and `value_stride` floats apart, and
  // zeros behind them.
  void (*store_group)(const KvLayout& layout, const float* keys, int64_t key_stride, const float* values,
                      int64_t value_stride, int64_t count, std::byte* part);
  // out[q * kKvBlock + t] = query q . key t for num_keys <= kKvBlock stored keys, a multiple of 16, and up to
  // kQueryTile queries. Not for kQ8.
  void (*products)(const KvLayout& layout, const std::byte* part, int64_t group_stride, int64_t num_keys,
                   const std::byte* queries, int64_t num_queries, float* out);
  // to += from, for one query.
  void (*join)(float max, float sum, const float* values, int64_t value_pad, const AttentionResult& to);
};

// Bytes of a packed query: a multiple of 64.
int64_t QueryBytes(const KvLayout& layout);
int64_t AttentionScratch(const KvLayout& layout);

const AttentionKernels& ReferenceAttention();
// Every table that this CPU runs, reference first.
std::vector<const AttentionKernels*> AvailableAttention();
Result<const AttentionKernels*> AttentionByName(std::string_view name);
// The one for `kernels`: the fastest beside the fastest, otherwise of its name.
const AttentionKernels& AttentionFor(const Kernels& kernels);

}  // namespace deepshock
