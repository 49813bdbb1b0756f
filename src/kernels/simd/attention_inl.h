// SPDX-License-Identifier: Apache-2.0
// Attention in float32, written over the names of <isa>/vector.h, which comes first. Internal linkage: see
// kernels/isa.h. Stored integers are decoded a block at a time to rows of float32, which all
// queries of the tile then share.
#pragma once

// A room takes of these headers what it needs.
#pragma GCC diagnostic ignored "-Wunused-function"

#include <cstdint>

#include "kernels/attention_isa.h"
#include "kernels/simd/vector_inl.h"

namespace deepshock {
namespace {

constexpr float kNothing = -__builtin_inff();

DS_INLINE int64_t AtMost(int64_t a, int64_t b) { return a < b ? a : b; }
DS_INLINE int64_t AtLeast(int64_t a, int64_t b) { return a > b ? a : b; }

// One query, its sections apart and padded with zeros, as keys are.
DS_INLINE void PackFloats(const KvGeometry& g, const float* query, float scale, float* out) {
  const float* x = query;
  for (int64_t s = 0; s < g.num_sections; ++s) {
    for (int64_t k = 0; k < g.section_pad[s]; ++k) out[k] = k < g.section_dims[s] ? x[k] * scale : 0.0f;
    out += g.section_pad[s];
    x += g.section_dims[s];
  }
}

void PackQueryFloats(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  PackFloats(GeometryOf(layout), query, scale, reinterpret_cast<float*>(packed));
}

// Rows of float32, `rows_in_run` of them `row_stride` floats apart, runs `run_stride` bytes apart: stored
// float32 groups, or a decoded block.
struct FloatRows {
  const std::byte* base;
  int64_t run_stride;
  int64_t row_stride;
  DS_INLINE const float* Row(int64_t token) const {
    return reinterpret_cast<const float*>(base + token / kKvGroup * run_stride) +
           token % kKvGroup * row_stride;
  }
};

// scores[t] = query . key t for four tokens.
DS_INLINE void FourDots(const float* query, const float* const* keys, int64_t n, float* scores) {
  F sum[4] = {Set1(0), Set1(0), Set1(0), Set1(0)};
  for (int64_t k = 0; k < n; k += kLanes) {
    const F q = Load(query + k);
    for (int t = 0; t < 4; ++t) sum[t] = Fma(q, Load(keys[t] + k), sum[t]);
  }
  for (int t = 0; t < 4; ++t) scores[t] = ReduceSum(sum[t]);
}
// The same for two queries, in the same order.
DS_INLINE void EightDots(const float* query0, const float* query1, const float* const* keys, int64_t n,
                         float* scores0, float* scores1) {
  F sum0[4] = {Set1(0), Set1(0), Set1(0), Set1(0)}, sum1[4] = {Set1(0), Set1(0), Set1(0), Set1(0)};
  for (int64_t k = 0; k < n; k += kLanes) {
    const F q0 = Load(query0 + k), q1 = Load(query1 + k);
    for (int t = 0; t < 4; ++t) {
      const F key = Load(keys[t] + k);
      sum0[t] = Fma(q0, key, sum0[t]);
      sum1[t] = Fma(q1, key, sum1[t]);
    }
  }
  for (int t = 0; t < 4; ++t) {
    scores0[t] = ReduceSum(sum0[t]);
    scores1[t] = ReduceSum(sum1[t]);
  }
}

// scores [num_queries, kKvBlock] of the block's tokens [begin, end), begin and end multiples of 4.
void BlockScores(const float* queries, int64_t query_stride, int64_t num_queries, const FloatRows& keys,
                 int64_t begin, int64_t end, int64_t n, float* scores) {
  for (int64_t t = begin; t < end; t += 4) {
    const float* rows[4] = {keys.Row(t), keys.Row(t + 1), keys.Row(t + 2), keys.Row(t + 3)};
    int64_t q = 0;
    for (; q + 2 <= num_queries; q += 2) {
      EightDots(queries + q * query_stride, queries + (q + 1) * query_stride, rows, n,
                scores + q * kKvBlock + t, scores + (q + 1) * kKvBlock + t);
    }
    if (q < num_queries) FourDots(queries + q * query_stride, rows, n, scores + q * kKvBlock + t);
  }
}

// Turns one query's scores of a block's tokens [begin, end) (multiples of 16) into weights, 0 outside [first,
// last), and updates its maximum and sum. Returns what earlier results are multiplied by. Whole vectors are
// at fixed places of the block, so that more of them around [first, last) change nothing.
DS_INLINE float WeighBlock(float* scores, int64_t begin, int64_t end, int64_t first, int64_t last, float* max,
                           float* sum) {
  for (int64_t t = begin; t < AtMost(end, first); ++t) scores[t] = kNothing;
  for (int64_t t = AtLeast(begin, last); t < end; ++t) scores[t] = kNothing;
  F largest = Set1(kNothing);
  for (int64_t t = begin; t < end; t += kLanes) largest = Max(largest, Load(scores + t));
  const float block_max = ReduceMax(largest);
  const float joined = block_max > *max ? block_max : *max;
  const F shift = Set1(joined == kNothing ? 0.0f : joined);
  F sums = Set1(0);
  for (int64_t t = begin; t < end; t += kLanes) {
    const F score = Load(scores + t);
    const F weight = Exp(Sub(score, shift));
    Store(scores + t, weight);
    sums = Add(sums, weight);
  }
  alignas(64) float kept[kLanes];
  Store(kept, Exp(Sub(Set1(*max), shift)));
  *sum = *sum * kept[0] + ReduceSum(sums);
  *max = joined;
  return kept[0];
}

// values[q][c] = values[q][c] * kept[q] + sum over tokens [begin, end) of weights[q][t] rows[t][c], for Q
// queries and C vectors of columns.
template <int Q, int C>
DS_INLINE void AddValues(const float* weights, const float* kept, const FloatRows& rows, int64_t begin,
                         int64_t end, int64_t column, float* values, int64_t value_pad) {
  F sum[Q][C];
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c)
      sum[q][c] = Mul(Load(values + q * value_pad + column + c * kLanes), Set1(kept[q]));
  }
  for (int64_t t = begin; t < end; ++t) {
    const float* row = rows.Row(t) + column;
    F v[C];
    for (int c = 0; c < C; ++c) v[c] = Load(row + c * kLanes);
    for (int q = 0; q < Q; ++q) {
      const F weight = Set1(weights[q * kKvBlock + t]);
      for (int c = 0; c < C; ++c) sum[q][c] = Fma(weight, v[c], sum[q][c]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) Store(values + q * value_pad + column + c * kLanes, sum[q][c]);
  }
}

template <int C>
DS_INLINE void AddColumns(const float* weights, const float* kept, int64_t num_queries, const FloatRows& rows,
                          int64_t begin, int64_t end, int64_t column, float* values, int64_t value_pad) {
  int64_t q = 0;
  for (; q + 4 <= num_queries; q += 4) {
    AddValues<4, C>(weights + q * kKvBlock, kept + q, rows, begin, end, column, values + q * value_pad,
                    value_pad);
  }
  for (; q < num_queries; ++q) {
    AddValues<1, C>(weights + q * kKvBlock, kept + q, rows, begin, end, column, values + q * value_pad,
                    value_pad);
  }
}

void BlockValues(const float* weights, const float* kept, int64_t num_queries, const FloatRows& rows,
                 int64_t begin, int64_t end, float* values, int64_t value_pad) {
  constexpr int kColumns = 16 / kLanes;  // vectors in the least column count
  for (int64_t c = 0; c < value_pad; c += 16) {
    AddColumns<kColumns>(weights, kept, num_queries, rows, begin, end, c, values, value_pad);
  }
}

DS_INLINE float LoadFloat(const std::byte* at) {
  float value;
  __builtin_memcpy(&value, at, sizeof(value));
  return value;
}

// Dims [first, first + dims) of one group's tokens, integers in square blocks, to rows of float32.
template <typename Int>
DS_INLINE void DecodeInts(const std::byte* array, int64_t pad, int64_t first, int64_t dims,
                          const std::byte* scales, float* out, int64_t out_stride) {
  constexpr int64_t kSide = 4 / sizeof(Int);
  const auto* from = reinterpret_cast<const Int*>(array);
  for (int64_t t = 0; t < kKvGroup; ++t) {
    const float scale = LoadFloat(scales + t * 4);
    float* row = out + t * out_stride;
    const Int* x = from + t / kSide * kSide * pad + t % kSide * kSide;
    for (int64_t k = first; k < first + dims; k += kSide) {
      for (int i = 0; i < kSide; ++i) row[k + i] = scale * static_cast<float>(x[k * kSide + i]);
    }
  }
}
DS_INLINE void DecodeInts(KvType type, const std::byte* array, int64_t pad, int64_t first, int64_t dims,
                          const std::byte* scales, float* out, int64_t out_stride) {
  if (type == KvType::kQ16) DecodeInts<int16_t>(array, pad, first, dims, scales, out, out_stride);
  if (type == KvType::kQ8) DecodeInts<int8_t>(array, pad, first, dims, scales, out, out_stride);
}

// Tokens of the block's groups [begin, end) to float32 rows: keys at decoded, values (unless shared) behind.
void DecodeBlock(const KvGeometry& g, const std::byte* part, int64_t group_stride, int64_t begin_group,
                 int64_t end_group, float* decoded) {
  float* values = decoded + kKvBlock * g.key_pad;
  for (int64_t group = begin_group; group < end_group; ++group) {
    const std::byte* from = part + group * group_stride;
    float* keys_to = decoded + group * kKvGroup * g.key_pad;
    float* values_to = values + group * kKvGroup * g.value_pad;
    int64_t first = 0;
    for (int64_t s = 0; s < g.num_sections; ++s) {
      DecodeInts(g.type, from, g.key_pad, first, g.section_pad[s], from + g.key_scales_at[s], keys_to,
                 g.key_pad);
      first += g.section_pad[s];
    }
    if (g.shared_values) continue;
    DecodeInts(g.type, from + g.values_at, g.value_pad, 0, g.value_pad, from + g.value_scales_at, values_to,
               g.value_pad);
  }
}

// The tokens of one block that any query of the tile sees, cut to whole vectors; empty: begin = end.
struct BlockRange {
  int64_t begin, end;
};
DS_INLINE BlockRange SeenOf(const AttentionSpan& span, int64_t block_first) {
  int64_t first = kKvBlock, last = 0;
  for (int64_t q = 0; q < span.num_queries; ++q) {
    const int64_t begin = AtLeast(span.begin[q] - block_first, 0);
    const int64_t end = AtMost(span.end[q] - block_first, kKvBlock);
    if (begin >= end) continue;
    first = AtMost(first, begin);
    last = AtLeast(last, end);
  }
  if (first >= last) return {0, 0};
  return {first / 16 * 16, (last + 15) / 16 * 16};
}

DS_INLINE void ClearResult(const AttentionResult& result, int64_t num_queries, int64_t value_pad) {
  for (int64_t q = 0; q < num_queries; ++q) {
    result.max[q] = kNothing;
    result.sum[q] = 0;
  }
  for (int64_t i = 0; i < num_queries * value_pad; i += kLanes) Store(result.values + i, Set1(0));
}

void AttendFloats(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  const KvGeometry g = GeometryOf(*span.layout);
  const int64_t query_stride = QueryBytes(*span.layout) / 4;
  const auto* queries = reinterpret_cast<const float*>(span.queries);
  auto* scores = reinterpret_cast<float*>(scratch);
  float* decoded = scores + kQueryTile * kKvBlock;
  float kept[kQueryTile];
  ClearResult(result, span.num_queries, g.value_pad);
  for (int64_t block = 0; block < kKvSpan; block += kKvBlock) {
    const BlockRange seen = SeenOf(span, span.span_first + block);
    if (seen.begin == seen.end) continue;
    const std::byte* part = span.part + block / kKvGroup * span.group_stride;
    FloatRows keys{part, span.group_stride, g.key_pad};
    FloatRows values{part + g.values_at, span.group_stride, g.shared_values ? g.key_pad : g.value_pad};
    if (g.type != KvType::kF32) {
      DecodeBlock(g, part, span.group_stride, seen.begin / kKvGroup, (seen.end + kKvGroup - 1) / kKvGroup,
                  decoded);
      const auto* base = reinterpret_cast<const std::byte*>(decoded);
      keys = {base, kKvGroup * g.key_pad * 4, g.key_pad};
      values = g.shared_values
                   ? keys
                   : FloatRows{base + kKvBlock * g.key_pad * 4, kKvGroup * g.value_pad * 4, g.value_pad};
    }
    BlockScores(queries, query_stride, span.num_queries, keys, seen.begin, seen.end, g.key_pad, scores);
    for (int64_t q = 0; q < span.num_queries; ++q) {
      kept[q] =
          WeighBlock(scores + q * kKvBlock, seen.begin, seen.end, span.begin[q] - span.span_first - block,
                     span.end[q] - span.span_first - block, result.max + q, result.sum + q);
    }
    BlockValues(scores, kept, span.num_queries, values, seen.begin, seen.end, result.values, g.value_pad);
  }
}

// Products with stored float32 keys.
void ProductsFloats(const KvLayout& layout, const std::byte* part, int64_t group_stride, int64_t num_keys,
                    const std::byte* queries, int64_t num_queries, float* out) {
  const KvGeometry g = GeometryOf(layout);
  BlockScores(reinterpret_cast<const float*>(queries), QueryBytes(layout) / 4, num_queries,
              {part, group_stride, g.key_pad}, 0, num_keys, g.key_pad, out);
}

void JoinResults(float max, float sum, const float* values, int64_t value_pad, const AttentionResult& to) {
  if (max == kNothing) return;
  const float joined = max > *to.max ? max : *to.max;
  alignas(64) float factors[2 * kLanes];
  Store(factors, Exp(Sub(Set1(*to.max), Set1(joined))));
  Store(factors + kLanes, Exp(Sub(Set1(max), Set1(joined))));
  *to.max = joined;
  *to.sum = *to.sum * factors[0] + sum * factors[kLanes];
  const F kept = Set1(factors[0]), added = Set1(factors[kLanes]);
  for (int64_t c = 0; c < value_pad; c += kLanes) {
    Store(to.values + c, Fma(Load(to.values + c), kept, Mul(Load(values + c), added)));
  }
}

}  // namespace
}  // namespace deepshock
