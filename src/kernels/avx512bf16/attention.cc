// SPDX-License-Identifier: Apache-2.0
// Attention with AVX-512 VNNI and BF16. Float32 states are computed as in the avx512 room.
//   kBF16  queries and weights are rounded to bfloat16, products of pairs added in float32.
//   kQ8    queries are rounded to 8 bits with one scale a section, weights times the values' scales to 8 bits
//          with one scale a block and query; sums of products are exact integers.
// Scores: a register holds 16 dims of 2 or 4 tokens, against the same 16 dims of a query, each pair (quad) of
// them repeated for every token as it is loaded (stored so, queries would push the keys out of the L1 cache);
// the lanes of one token are added at the end. So few queries use whole registers as many do. Values: the
// same register, its tokens and dims exchanged inside blocks by a shuffle, holds 16 dims of 2 or 4 tokens
// side by side.
#include "kernels/avx512/vector.h"
// After vector.h.
#include "kernels/simd/attention_blocks_inl.h"

namespace deepshock {
namespace {

constexpr int kTile = 6;  // queries: with 4 registers of tokens 24 sums, 4 of keys, 1 of a query

DS_INLINE __m512i LoadBytes(const void* p) { return _mm512_loadu_si512(p); }

// Lane i (128 bits) of the result: the sum of a[i]'s four lanes.
DS_INLINE __m512i SumLanes(__m512i a0, __m512i a1, __m512i a2, __m512i a3) {
  const auto add = [](__m512i a, __m512i b) __attribute__((always_inline)) { return _mm512_add_epi32(a, b); };
  const __m512i x = add(_mm512_shuffle_i32x4(a0, a1, 0x44), _mm512_shuffle_i32x4(a0, a1, 0xEE));
  const __m512i y = add(_mm512_shuffle_i32x4(a2, a3, 0x44), _mm512_shuffle_i32x4(a2, a3, 0xEE));
  return add(_mm512_shuffle_i32x4(x, y, 0x88), _mm512_shuffle_i32x4(x, y, 0xDD));
}
DS_INLINE __m512 SumLanes(__m512 a0, __m512 a1, __m512 a2, __m512 a3) {
  const __m512 x = Add(_mm512_shuffle_f32x4(a0, a1, 0x44), _mm512_shuffle_f32x4(a0, a1, 0xEE));
  const __m512 y = Add(_mm512_shuffle_f32x4(a2, a3, 0x44), _mm512_shuffle_f32x4(a2, a3, 0xEE));
  return Add(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xDD));
}

// ---- packed queries

void PackQueryBF16(const KvGeometry& g, const float* query, float scale, std::byte* packed) {
  auto* out = reinterpret_cast<uint32_t*>(packed);
  for (int64_t s = 0; s < g.num_sections; ++s) {
    for (int64_t k = 0; k < g.section_pad[s]; k += 16, out += 8) {
      const int64_t left = g.section_dims[s] - k;
      const F x = left >= 16 ? Load(query + k) : left > 0 ? LoadPart(query + k, left) : Set1(0);
      const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(Mul(x, Set1(scale))));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), rounded);
    }
    query += g.section_dims[s];
  }
}

void PackQueryQ8(const KvGeometry& g, const float* query, float scale, std::byte* packed) {
  auto* out = packed;
  auto* scales = reinterpret_cast<float*>(packed + g.key_pad * 4);
  for (int64_t s = 0; s < g.num_sections; ++s) {
    const int64_t dims = g.section_dims[s];
    F largest = Set1(0), poison = Set1(0);  // 0, or NaN where the query has NaN or infinity
    const auto at = [&](int64_t k) __attribute__((always_inline)) {
      return k + 16 <= dims ? Load(query + k) : k < dims ? LoadPart(query + k, dims - k) : Set1(0);
    };
    for (int64_t k = 0; k < dims; k += 16) {
      largest = Max(_mm512_abs_ps(at(k)), largest);
      poison = Fma(at(k), Set1(0), poison);
    }
    const float max = ReduceMax(largest);
    scales[s] = max / 127 * scale + ReduceSum(poison);
    const F inverse = Set1(max > 0 ? 127 / max : 0.0f);
    for (int64_t k = 0; k < g.section_pad[s]; k += 16, out += 16) {
      const __m512i rounded = _mm512_cvtps_epi32(Mul(at(k), inverse));
      const __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(rounded), _mm_set1_epi8(-128));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    }
    query += dims;
  }
}

void PackQuery(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type == KvType::kF32) PackFloats(g, query, scale, reinterpret_cast<float*>(packed));
  if (g.type == KvType::kBF16) PackQueryBF16(g, query, scale, packed);
  if (g.type == KvType::kQ8) PackQueryQ8(g, query, scale, packed);
}

// ---- scores


// Eight tokens from `keys` on against Q queries; pair_bytes from one pair of tokens to the next. Meanwhile
// asks memory for as many bytes from `next` on, unless that is null.
template <int Q>
DS_INLINE void ScoresBF16(const std::byte* queries, int64_t query_bytes, const std::byte* keys,
                          int64_t pair_bytes, const std::byte* next, float* scores) {
  F sum[Q][4];
  for (int q = 0; q < Q; ++q) {
    for (int p = 0; p < 4; ++p) sum[q][p] = Set1(0);
  }
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (int64_t k = 0; k < pair_bytes; k += 64) {
    __m512i key[4];
    for (int p = 0; p < 4; ++p) key[p] = LoadBytes(keys + p * pair_bytes + k);
    if (next != nullptr) {
      for (int p = 0; p < 4; ++p) Prefetch(next + p * pair_bytes + k);
    }
    for (int q = 0; q < Q; ++q) {
      const __m256i pairs =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(queries + q * query_bytes + k / 2));
      const auto query =
          reinterpret_cast<__m512bh>(_mm512_permutexvar_epi32(twice, _mm512_castsi256_si512(pairs)));
      for (int p = 0; p < 4; ++p)
        sum[q][p] = _mm512_dpbf16_ps(sum[q][p], query, reinterpret_cast<__m512bh>(key[p]));
    }
  }
  const __m512i order = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
  for (int q = 0; q < Q; ++q) {
    const F pairs = SumLanes(sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
    const F both = Add(pairs, _mm512_shuffle_ps(pairs, pairs, 0x4E));
    _mm256_storeu_ps(scores + q * kKvBlock, LowerHalf(_mm512_permutexvar_ps(order, both)));
  }
}

struct SectionQ8 {
  int64_t bytes;        // of one quad
  const float* scales;  // of the sixteen tokens' keys
  const int32_t* sums;
};

// Sixteen tokens from `keys` on against Q queries; quad_bytes from one quad of tokens to the next; `next` as
// above.
template <int Q>
DS_INLINE void ScoresQ8(const std::byte* queries, int64_t query_bytes, const std::byte* query_scales,
                        const std::byte* keys, int64_t quad_bytes, const std::byte* next,
                        const SectionQ8* sections, int64_t num_sections, float* scores) {
  F total[Q];
  const __m512i four_times = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  int64_t at = 0;
  for (int64_t s = 0; s < num_sections; ++s) {
    __m512i sum[Q][4];
    for (int q = 0; q < Q; ++q) {
      for (int p = 0; p < 4; ++p) sum[q][p] = _mm512_setzero_si512();
    }
    for (const int64_t end = at + sections[s].bytes; at < end; at += 64) {
      __m512i key[4];
      for (int p = 0; p < 4; ++p) key[p] = LoadBytes(keys + p * quad_bytes + at);
      if (next != nullptr) {
        for (int p = 0; p < 4; ++p) Prefetch(next + p * quad_bytes + at);
      }
      for (int q = 0; q < Q; ++q) {
        const __m128i quads =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(queries + q * query_bytes + at / 4));
        const __m512i query = _mm512_permutexvar_epi32(four_times, _mm512_castsi128_si512(quads));
        for (int p = 0; p < 4; ++p) sum[q][p] = _mm512_dpbusd_epi32(sum[q][p], query, key[p]);
      }
    }
    // Queries are stored plus 128.
    const __m512i offset = _mm512_slli_epi32(LoadBytes(sections[s].sums), 7);
    const F key_scales = Load(sections[s].scales);
    for (int q = 0; q < Q; ++q) {
      const __m512i dots = _mm512_sub_epi32(SumLanes(sum[q][0], sum[q][1], sum[q][2], sum[q][3]), offset);
      const float query_scale = reinterpret_cast<const float*>(query_scales + q * query_bytes)[s];
      const F scale = Mul(key_scales, Set1(query_scale));
      total[q] =
          s == 0 ? Mul(_mm512_cvtepi32_ps(dots), scale) : Fma(_mm512_cvtepi32_ps(dots), scale, total[q]);
    }
  }
  for (int q = 0; q < Q; ++q) Store(scores + q * kKvBlock, total[q]);
}

void BlockScoresBF16(const Block& b, float* scores) {
  const int64_t pair_bytes = b.g.key_pad * 4;
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const auto keys_of = [&](int64_t token) __attribute__((always_inline)) {
      return b.Group(token) + token % kKvGroup / 2 * pair_bytes;
    };
    const std::byte* keys = keys_of(t);
    const std::byte* next = t + 8 < b.seen.end ? keys_of(t + 8) : nullptr;
    b.PrefetchValues(t, 8);
    InTiles<kTile>(
        b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
          ScoresBF16<decltype(number)::kValue>(b.queries + q * b.query_bytes, b.query_bytes, keys, pair_bytes,
                                               q == 0 ? next : nullptr, scores + q * kKvBlock + t);
        });
  }
}

void BlockScoresQ8(const Block& b, float* scores) {
  const int64_t quad_bytes = b.g.key_pad * 4;
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 16) {
    const std::byte* group = b.Group(t);
    const int64_t slot = t % kKvGroup;
    const std::byte* keys = group + slot / 4 * quad_bytes;
    const std::byte* next =
        t + 16 < b.seen.end ? b.Group(t + 16) + (t + 16) % kKvGroup / 4 * quad_bytes : nullptr;
    b.PrefetchValues(t, 16);
    SectionQ8 sections[2];
    for (int64_t s = 0; s < b.g.num_sections; ++s) {
      const auto* scales = reinterpret_cast<const float*>(group + b.g.key_scales_at[s]);
      sections[s] = {b.g.section_pad[s] * 4, scales + slot,
                     reinterpret_cast<const int32_t*>(scales + kKvGroup) + slot};
    }
    InTiles<kTile>(
        b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
          const std::byte* queries = b.queries + q * b.query_bytes;
          ScoresQ8<decltype(number)::kValue>(queries, b.query_bytes, queries + b.g.key_pad * 4, keys,
                                             quad_bytes, q == 0 ? next : nullptr, sections, b.g.num_sections,
                                             scores + q * kKvBlock + t);
        });
  }
}

// ---- values

// Exchanges the middle pairs of bytes of every 8: two tokens of a dim come to lie together.
DS_INLINE __m512i TokenPairs(__m512i v) {
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
// Transposes 4x4 bytes in every 16.
DS_INLINE __m512i TokenQuads(__m512i v) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

// values [Q queries, C vectors of 16 dims] = values * kept + weights . stored values. weights [Q, kKvBlock]
// bfloat16.
template <int Q, int C>
DS_INLINE void ValuesBF16(const Block& b, int64_t column, const uint16_t* weights, const float* kept,
                          float* values) {
  F sum[Q][C];
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) sum[q][c] = Mul(Load(values + q * b.g.value_pad + c * 16), Set1(kept[q]));
  }
  for (int64_t t = b.seen.begin; t < b.seen.end;) {
    const std::byte* from = b.Group(t) + b.g.values_at + t % kKvGroup / 2 * b.g.value_stride + column * 4;
    for (const int64_t end = AtMost(b.seen.end, (t / kKvGroup + 1) * kKvGroup); t < end;
         t += 2, from += b.g.value_stride) {
      __m512bh v[C];
      for (int c = 0; c < C; ++c) v[c] = reinterpret_cast<__m512bh>(TokenPairs(LoadBytes(from + c * 64)));
      for (int q = 0; q < Q; ++q) {
        int pair;
        __builtin_memcpy(&pair, weights + q * kKvBlock + t, sizeof(pair));
        const auto weight = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
        for (int c = 0; c < C; ++c) sum[q][c] = _mm512_dpbf16_ps(sum[q][c], weight, v[c]);
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) Store(values + q * b.g.value_pad + c * 16, sum[q][c]);
  }
}

// The same with weights [Q, kKvBlock] in 8 bits, in units of unit[q].
template <int Q, int C>
DS_INLINE void ValuesQ8(const Block& b, int64_t column, const uint8_t* weights, const float* kept,
                        const float* unit, float* values) {
  __m512i sum[Q][C];
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) sum[q][c] = _mm512_setzero_si512();
  }
  for (int64_t t = b.seen.begin; t < b.seen.end;) {
    const std::byte* from = b.Group(t) + b.g.values_at + t % kKvGroup / 4 * b.g.value_stride + column * 4;
    for (const int64_t end = AtMost(b.seen.end, (t / kKvGroup + 1) * kKvGroup); t < end;
         t += 4, from += b.g.value_stride) {
      __m512i v[C];
      for (int c = 0; c < C; ++c) v[c] = TokenQuads(LoadBytes(from + c * 64));
      for (int q = 0; q < Q; ++q) {
        int quad;
        __builtin_memcpy(&quad, weights + q * kKvBlock + t, sizeof(quad));
        const __m512i weight = _mm512_set1_epi32(quad);
        for (int c = 0; c < C; ++c) sum[q][c] = _mm512_dpbusd_epi32(sum[q][c], weight, v[c]);
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) {
      float* to = values + q * b.g.value_pad + c * 16;
      Store(to, Fma(_mm512_cvtepi32_ps(sum[q][c]), Set1(unit[q]), Mul(Load(to), Set1(kept[q]))));
    }
  }
}

// Calls columns(column, number of 16-wide vectors) over the padded width, the number being 4, 2 or 1.
template <typename Columns>
DS_INLINE void InColumns(int64_t value_pad, const Columns& columns) {
  int64_t c = 0;
  for (; value_pad - c >= 64; c += 64) columns(c, Number<4>());
  if (value_pad - c >= 32) {
    columns(c, Number<2>());
    c += 32;
  }
  if (c < value_pad) columns(c, Number<1>());
}

void BlockValuesBF16(const Block& b, const uint16_t* weights, const float* kept, float* values) {
  InColumns(
      b.g.value_pad, [&](int64_t c, auto columns) __attribute__((always_inline)) {
        InTiles<kTile>(
            b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
              ValuesBF16<decltype(queries)::kValue, decltype(columns)::kValue>(
                  b, c, weights + q * kKvBlock, kept + q, values + q * b.g.value_pad + c);
            });
      });
}

void BlockValuesQ8(const Block& b, const uint8_t* weights, const float* kept, const float* unit,
                   float* values) {
  InColumns(
      b.g.value_pad, [&](int64_t c, auto columns) __attribute__((always_inline)) {
        InTiles<kTile>(
            b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
              ValuesQ8<decltype(queries)::kValue, decltype(columns)::kValue>(
                  b, c, weights + q * kKvBlock, kept + q, unit + q, values + q * b.g.value_pad + c);
            });
      });
}

void RoundWeightsBF16(const float* weights, const BlockRange& seen, uint16_t* rounded) {
  for (int64_t t = seen.begin; t < seen.end; t += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rounded + t),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(Load(weights + t))));
  }
}

// Weights times the scales of their values, in 8 bits; returns the unit.
float RoundWeightsQ8(const Block& b, float* weights, uint8_t* rounded) {
  F largest = Set1(0);
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 16) {
    const auto* scales = reinterpret_cast<const float*>(b.Group(t) + b.g.value_scales_at) + t % kKvGroup;
    const F scaled = Mul(Load(weights + t), Load(scales));
    Store(weights + t, scaled);
    largest = Max(scaled, largest);
  }
  const float max = ReduceMax(largest);
  const F inverse = Set1(max > 0 ? 255 / max : 0.0f);
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 16) {
    const __m512i bytes = _mm512_cvtps_epi32(Mul(Load(weights + t), inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded + t), _mm512_cvtusepi32_epi8(bytes));
  }
  return max / 255;
}

void Attend(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  const KvGeometry g = GeometryOf(*span.layout);
  if (g.type == KvType::kF32) return AttendFloats(span, result, scratch);
  const bool is_bf16 = g.type == KvType::kBF16;
  auto* scores = reinterpret_cast<float*>(scratch);
  auto* rounded = reinterpret_cast<uint16_t*>(scores + kQueryTile * kKvBlock);
  auto* bytes = reinterpret_cast<uint8_t*>(rounded);
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
    is_bf16 ? BlockScoresBF16(b, scores) : BlockScoresQ8(b, scores);
    for (int64_t q = 0; q < span.num_queries; ++q) {
      float* own = scores + q * kKvBlock;
      kept[q] = WeighBlock(own, seen.begin, seen.end, span.begin[q] - span.span_first - block,
                           span.end[q] - span.span_first - block, result.max + q, result.sum + q);
      if (is_bf16) {
        RoundWeightsBF16(own, seen, rounded + q * kKvBlock);
      } else {
        unit[q] = RoundWeightsQ8(b, own, bytes + q * kKvBlock);
      }
    }
    if (is_bf16) {
      BlockValuesBF16(b, rounded, kept, result.values);
    } else {
      BlockValuesQ8(b, bytes, kept, unit, result.values);
    }
  }
}

// Two rows of floats to a row of 2x2 blocks; `dims` of `pad` are there, the others zero. A null row is zeros.
void StorePair(const float* row0, const float* row1, int64_t dims, int64_t pad, std::byte* out) {
  const __m512i interleave = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  for (int64_t k = 0; k < pad; k += 16, out += 64) {
    const auto bits = [&](const float* row) __attribute__((always_inline)) {
      const F x = row == nullptr || k >= dims ? Set1(0)
                  : k + 16 <= dims            ? Load(row + k)
                                              : LoadPart(row + k, dims - k);
      return _mm512_castsi256_si512(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
    };
    _mm512_storeu_si512(out, _mm512_permutex2var_epi32(bits(row0), interleave, bits(row1)));
  }
}

// Keys of one section in bfloat16.
void StoreGroupBF16(const KvLayout& layout, const float* keys, int64_t key_stride, const float* values,
                    int64_t value_stride, int64_t count, std::byte* part) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type != KvType::kBF16 || g.num_sections != 1) {
    return StoreGroup(layout, keys, key_stride, values, value_stride, count, part);
  }
  for (int64_t t = 0; t < kKvGroup; t += 2) {
    const auto row = [&](const float* rows, int64_t stride, int64_t i) __attribute__((always_inline)) {
      return i < count ? rows + i * stride : nullptr;
    };
    StorePair(row(keys, key_stride, t), row(keys, key_stride, t + 1), g.section_dims[0], g.key_pad,
              part + t * g.key_pad * 2);
    if (g.shared_values) continue;
    StorePair(row(values, value_stride, t), row(values, value_stride, t + 1), g.value_dim, g.value_pad,
              part + g.values_at + t * g.value_pad * 2);
  }
}

void Products(const KvLayout& layout, const std::byte* part, int64_t group_stride, int64_t num_keys,
              const std::byte* queries, int64_t num_queries, float* out) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type == KvType::kF32) {
    return ProductsFloats(layout, part, group_stride, num_keys, queries, num_queries, out);
  }
  BlockScoresBF16({g, part, group_stride, {0, num_keys}, queries, QueryBytes(layout), num_queries}, out);
}

}  // namespace

constinit const AttentionKernels kAvx512Bf16Attention = {
    .name = "avx512bf16",
    .pack_query = PackQuery,
    .attend = Attend,
    .fast_type = KvType::kBF16,
    .store_group = StoreGroupBF16,
    .products = Products,
    .join = JoinResults,
};

}  // namespace deepshock
