// SPDX-License-Identifier: Apache-2.0
// Attention over states of integers on x86: 16-bit ones as a whole, written over the names of <isa>/words.h,
// and the walk over blocks that 8-bit ones share with them. Queries are rounded to 16 bits with one scale a
// section, weights times the values' scales with one scale a block and query; products of pairs are added in
// 32 bits, exactly: scales are as small as sums of |query| (of weights) times 32767 allow.
//
// Scores: a register holds kLanes dims of 2 tokens, against the same dims of a query, each pair of them
// repeated for both tokens as it is loaded (stored so, queries would push the keys out of the L1 cache); the
// lanes of one token are added at the end. So few queries use whole registers as many do. Values: the same
// register, its tokens and dims exchanged inside blocks by a shuffle, holds kLanes dims of 2 tokens.
#pragma once

#include "kernels/simd/attention_blocks_inl.h"

namespace deepshock {
namespace {

constexpr float kMostWord = 32767;
// What the magnitudes of queries (of weights) that meet in a lane may add up to: times kMostWord below 2^31,
// with room for rounding. Times 127 where keys (values) have 8 bits.
constexpr float kMostInLane = 65400, kMostInLaneQ8 = kMostInLane * 258;

// 1 / unit, or 0 where that would be infinite; NaN stays.
DS_INLINE float InverseOf(float unit) { return unit < kLeastScaled ? 0.0f : 1 / unit; }

// most_in_lane is for sums of two dims of every kLanes.
void PackQueryWords(const KvGeometry& g, const float* query, float scale, float most_in_lane,
                    std::byte* packed) {
  auto* out = reinterpret_cast<int16_t*>(packed);
  auto* scales = reinterpret_cast<float*>(packed + g.key_pad * 4);
  for (int64_t s = 0; s < g.num_sections; ++s) {
    const int64_t dims = g.section_dims[s];
    const auto at = [&](int64_t k) __attribute__((always_inline)) {
      return k + kLanes <= dims ? Load(query + k) : k < dims ? LoadPart(query + k, dims - k) : Set1(0);
    };
    F largest = Set1(0), sum = Set1(0);
    F poison = Set1(0);  // 0, or NaN where the query has NaN or infinity
    for (int64_t k = 0; k < dims; k += kLanes) {
      const F magnitude = Max(at(k), Sub(Set1(0), at(k)));
      largest = Max(magnitude, largest);
      sum = Add(sum, magnitude);
      poison = Fma(at(k), Set1(0), poison);
    }
    // Each is rounded by at most a half.
    const float in_lane = 2 * ReduceMax(sum) / (most_in_lane - static_cast<float>(g.section_pad[s] / kLanes));
    const float by_largest = ReduceMax(largest) / kMostWord;
    const float unit = in_lane > by_largest ? in_lane : by_largest;
    scales[s] = unit * scale + ReduceSum(poison);
    const F inverse = Set1(InverseOf(unit));
    for (int64_t k = 0; k < g.section_pad[s]; k += kLanes, out += kLanes)
      StoreWords(out, Mul(at(k), inverse));
    query += dims;
  }
}

struct SectionQ16 {
  int64_t bytes;        // of one pair
  const float* scales;  // of the eight tokens' keys
};

// Eight tokens from `keys` on against Q queries; pair_bytes from one pair of tokens to the next.
template <int Q>
DS_INLINE void ScoresQ16(const std::byte* queries, int64_t query_bytes, const std::byte* query_scales,
                         const std::byte* keys, int64_t pair_bytes, Ahead ahead, const SectionQ16* sections,
                         int64_t num_sections, float* scores) {
  __m256 total[Q];
  for (int q = 0; q < Q; ++q) total[q] = _mm256_setzero_ps();
  int64_t at = 0;
  for (int64_t s = 0; s < num_sections; ++s) {
    Words sum[Q][4];
    for (int q = 0; q < Q; ++q) {
      for (int p = 0; p < 4; ++p) sum[q][p] = NoWords();
    }
    for (const int64_t end = at + sections[s].bytes; at < end; at += kWordsBytes) {
      Words key[4];
      for (int p = 0; p < 4; ++p) key[p] = LoadWords(keys + p * pair_bytes + at);
      if (at % 64 == 0) ahead.Step();
      for (int q = 0; q < Q; ++q) {
        const Words query = LoadPairsTwice(queries + q * query_bytes + at / 2);
        for (int p = 0; p < 4; ++p) sum[q][p] = AddProducts(sum[q][p], query, key[p]);
      }
    }
    const __m256 key_scales = _mm256_loadu_ps(sections[s].scales);
    for (int q = 0; q < Q; ++q) {
      const __m256 dots =
          SumOfPairs(ToFloats(sum[q][0]), ToFloats(sum[q][1]), ToFloats(sum[q][2]), ToFloats(sum[q][3]));
      const float query_scale = reinterpret_cast<const float*>(query_scales + q * query_bytes)[s];
      const __m256 scale = _mm256_mul_ps(key_scales, _mm256_set1_ps(query_scale));
      total[q] = _mm256_fmadd_ps(dots, scale, total[q]);
    }
  }
  for (int q = 0; q < Q; ++q) _mm256_storeu_ps(scores + q * kKvBlock, total[q]);
}

void BlockScoresQ16(const Block& b, float* scores) {
  const int64_t pair_bytes = b.g.key_pad * 4, tiles = (b.num_queries + kScoreTile - 1) / kScoreTile;
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const auto keys_of = [&](int64_t token) __attribute__((always_inline)) {
      return b.Group(token) + token % kKvGroup / 2 * pair_bytes;
    };
    const std::byte* keys = keys_of(t);
    const std::byte* next = t + 8 < b.seen.end ? keys_of(t + 8) : nullptr;
    b.PrefetchValues(t, 8);
    SectionQ16 sections[2];
    for (int64_t s = 0; s < b.g.num_sections; ++s) {
      sections[s] = {b.g.section_pad[s] * 4,
                     reinterpret_cast<const float*>(b.Group(t) + b.g.key_scales_at[s]) + t % kKvGroup};
    }
    InTiles<kScoreTile>(
        b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
          const std::byte* queries = b.queries + q * b.query_bytes;
          const Ahead ahead = AheadOf(next, 4, pair_bytes / 64, q / kScoreTile, tiles);
          ScoresQ16<decltype(number)::kValue>(queries, b.query_bytes, queries + b.g.key_pad * 4, keys,
                                              pair_bytes, ahead, sections, b.g.num_sections,
                                              scores + q * kKvBlock + t);
        });
  }
}

// Weights of one query times the scales of their values, in 16 bits; returns the unit. A lane adds all tokens
// of the block.
float RoundWeightsToWords(const Block& b, float most_in_lane, float* weights, int16_t* rounded) {
  F largest = Set1(0), sum = Set1(0);
  for (int64_t t = b.seen.begin; t < b.seen.end; t += kLanes) {
    const auto* scales = reinterpret_cast<const float*>(b.Group(t) + b.g.value_scales_at) + t % kKvGroup;
    const F scaled = Mul(Load(weights + t), Load(scales));
    Store(weights + t, scaled);
    largest = Max(scaled, largest);
    sum = Add(sum, scaled);
  }
  const float in_lane = ReduceSum(sum) / (most_in_lane - kKvBlock / 2);  // each is rounded by at most a half
  const float by_largest = ReduceMax(largest) / kMostWord;
  const float unit = by_largest > in_lane ? by_largest : in_lane;  // NaN where the sum is
  const F inverse = Set1(InverseOf(unit));
  for (int64_t t = b.seen.begin; t < b.seen.end; t += kLanes) {
    StoreWords(rounded + t, Mul(Load(weights + t), inverse));
  }
  return unit;
}

// values [Q queries, C vectors of kLanes dims] = values * kept + weights . stored values. weights
// [Q, kKvBlock] in units of unit[q].
template <int Q, int C>
DS_INLINE void ValuesQ16(const Block& b, int64_t column, const int16_t* weights, const float* kept,
                         const float* unit, float* values) {
  Words sum[Q][C];
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) sum[q][c] = NoWords();
  }
  for (int64_t t = b.seen.begin; t < b.seen.end;) {
    const std::byte* from = b.Group(t) + b.g.values_at + t % kKvGroup / 2 * b.g.value_stride + column * 4;
    for (const int64_t end = AtMost(b.seen.end, (t / kKvGroup + 1) * kKvGroup); t < end;
         t += 2, from += b.g.value_stride) {
      Words v[C];
      for (int c = 0; c < C; ++c) v[c] = TokenPairs(LoadWords(from + c * kWordsBytes));
      for (int q = 0; q < Q; ++q) {
        const Words weight = LoadPairEverywhere(weights + q * kKvBlock + t);
        for (int c = 0; c < C; ++c) sum[q][c] = AddProducts(sum[q][c], weight, v[c]);
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) {
      float* to = values + q * b.g.value_pad + c * kLanes;
      Store(to, Fma(ToFloats(sum[q][c]), Set1(unit[q]), Mul(Load(to), Set1(kept[q]))));
    }
  }
}

void BlockValuesQ16(const Block& b, const int16_t* weights, const float* kept, const float* unit,
                    float* values) {
  InColumns<kValueColumns>(
      b.g.value_pad, [&](int64_t c, auto columns) __attribute__((always_inline)) {
        InTiles<kValueTile>(
            b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
              ValuesQ16<decltype(queries)::kValue, decltype(columns)::kValue>(
                  b, c, weights + q * kKvBlock, kept + q, unit + q, values + q * b.g.value_pad + c);
            });
      });
}

// Two rows of floats to a row of 2x2 blocks; `dims` of `pad` are there, the others zero. A null row is zeros.
DS_INLINE void StorePair(const float* row0, const float* row1, int64_t dims, int64_t pad, float* scales,
                         std::byte* out) {
  const float* rows[2] = {row0, row1};
  float inverse[2] = {0, 0};
  const auto at = [&](const float* row, int64_t k) __attribute__((always_inline)) {
    return k + kLanes <= dims ? Load(row + k) : k < dims ? LoadPart(row + k, dims - k) : Set1(0);
  };
  for (int i = 0; i < 2; ++i) {
    if (rows[i] == nullptr) continue;
    F largest = Set1(0), poison = Set1(0);
    for (int64_t k = 0; k < dims; k += kLanes) {
      const F x = at(rows[i], k);
      largest = Max(Max(x, Sub(Set1(0), x)), largest);
      poison = Fma(x, Set1(0), poison);
    }
    const float max = ReduceMax(largest), nan = ReduceSum(poison);
    scales[i] = nan == 0 ? max / kMostWord : nan;
    inverse[i] = nan == 0 && max > kLeastScaled ? kMostWord / max : 0;
  }
  for (int64_t k = 0; k < pad; k += kLanes, out += kWordsBytes) {
    alignas(64) int16_t words[2][kLanes];
    for (int i = 0; i < 2; ++i) {
      StoreWords(words[i], rows[i] == nullptr ? Set1(0) : Mul(at(rows[i], k), Set1(inverse[i])));
    }
    StoreBlocks(words[0], words[1], out);
  }
}

// The first `count` tokens of a group: kernels/attention.h.
void StoreGroupQ16(const KvLayout& layout, const float* keys, int64_t key_stride, const float* values,
                   int64_t value_stride, int64_t count, std::byte* part) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type != KvType::kQ16 || g.num_sections != 1) {
    return StoreGroup(layout, keys, key_stride, values, value_stride, count, part);
  }
  auto* key_scales = reinterpret_cast<float*>(part + g.key_scales_at[0]);
  auto* value_scales = reinterpret_cast<float*>(part + g.value_scales_at);
  for (int64_t t = 0; t < kKvGroup; ++t) key_scales[t] = value_scales[t] = 0;
  for (int64_t t = 0; t < kKvGroup; t += 2) {
    const auto row = [&](const float* rows, int64_t stride, int64_t i) __attribute__((always_inline)) {
      return i < count ? rows + i * stride : nullptr;
    };
    StorePair(row(keys, key_stride, t), row(keys, key_stride, t + 1), g.section_dims[0], g.key_pad,
              key_scales + t, part + t * g.key_pad * 2);
    if (g.shared_values) continue;
    StorePair(row(values, value_stride, t), row(values, value_stride, t + 1), g.value_dim, g.value_pad,
              value_scales + t, part + g.values_at + t * g.value_pad * 2);
  }
}

template <typename Q8>
void PackQueryInts(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type == KvType::kF32) PackFloats(g, query, scale, reinterpret_cast<float*>(packed));
  if (g.type == KvType::kQ16) PackQueryWords(g, query, scale, kMostInLane, packed);
  if (g.type == KvType::kQ8) Q8::PackQuery(g, query, scale, packed);
}

// Q8 has the room's 8-bit kernels: PackQuery, Scores, RoundWeights, Values, and the type Weight.
template <typename Q8>
void AttendInts(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  const KvGeometry g = GeometryOf(*span.layout);
  if (g.type == KvType::kF32) return AttendFloats(span, result, scratch);
  const bool is_q16 = g.type == KvType::kQ16;
  auto* scores = reinterpret_cast<float*>(scratch);
  auto* words = reinterpret_cast<int16_t*>(scores + kQueryTile * kKvBlock);
  auto* weights = reinterpret_cast<typename Q8::Weight*>(words);
  float kept[kQueryTile], unit[kQueryTile];
  ClearResult(result, span.num_queries, g.value_pad);
  for (int64_t block = 0; block < kKvSpan; block += kKvBlock) {
    const BlockRange seen = SeenOf(span, span.span_first + block);
    if (seen.begin == seen.end) continue;
    const Block b{g,
                  span.part + block / kKvGroup * span.group_stride,
                  span.group_stride,
                  seen,
                  span.queries,
                  QueryBytes(*span.layout),
                  span.num_queries};
    is_q16 ? BlockScoresQ16(b, scores) : Q8::Scores(b, scores);
    for (int64_t q = 0; q < span.num_queries; ++q) {
      float* own = scores + q * kKvBlock;
      kept[q] = WeighBlock(own, seen.begin, seen.end, span.begin[q] - span.span_first - block,
                           span.end[q] - span.span_first - block, result.max + q, result.sum + q);
      unit[q] = is_q16 ? RoundWeightsToWords(b, kMostInLane, own, words + q * kKvBlock)
                       : Q8::RoundWeights(b, own, weights + q * kKvBlock);
    }
    is_q16 ? BlockValuesQ16(b, words, kept, unit, result.values)
           : Q8::Values(b, weights, kept, unit, result.values);
  }
}

void ProductsInts(const KvLayout& layout, const std::byte* part, int64_t group_stride, int64_t num_keys,
                  const std::byte* queries, int64_t num_queries, float* out) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type == KvType::kF32) {
    return ProductsFloats(layout, part, group_stride, num_keys, queries, num_queries, out);
  }
  BlockScoresQ16({g, part, group_stride, {0, num_keys}, queries, QueryBytes(layout), num_queries}, out);
}

}  // namespace
}  // namespace deepshock
