// SPDX-License-Identifier: Apache-2.0
// Attention with AVX2. Float32 states run through the shared templates. Others are decoded in registers:
//   kBF16  a shift and a mask make two vectors of float32 of a register of 2x2 blocks, its even and its odd
//          dims; queries and weights stay float32.
//   kQ8    tokens become 16-bit integers; queries and weights are rounded to 16 bits, queries with one scale
//          a section, weights times the values' scales with one scale a block and query; sums of products
//          are exact.
// A register holds 8 (4) dims of 2 (4) tokens; lanes of one token (of one dim, for values) are added at the
// end. Queries are repeated for every token as they are loaded, values' tokens and dims exchanged by a
// shuffle.
#include "kernels/avx2/vector.h"
// After vector.h.
#include "kernels/simd/attention_blocks_inl.h"

namespace deepshock {
namespace {

constexpr int kMostWeight = 32767;

DS_INLINE __m256i LoadInts(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
// 16 bytes as 16-bit integers.
DS_INLINE __m256i Widen(__m128i bytes) { return _mm256_cvtepi8_epi16(bytes); }
DS_INLINE __m128i LoadBlock(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
// Four 16-bit integers, repeated four times.
DS_INLINE __m256i FourWords(const std::byte* p) {
  long long words;
  __builtin_memcpy(&words, p, sizeof(words));
  return _mm256_set1_epi64x(words);
}
DS_INLINE __m256i AddProducts(__m256i sum, __m256i a, __m256i b) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  asm("" : "+x"(sum));  // GCC would regroup a chain of additions to a tree that does not fit the registers
  return sum;
}
// Sums of neighbouring lanes: a's four, then b's.
DS_INLINE __m256i SumNeighbours(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8);
}
DS_INLINE F EvenDims(__m256i blocks) { return _mm256_castsi256_ps(_mm256_slli_epi32(blocks, 16)); }
DS_INLINE F OddDims(__m256i blocks) {
  return _mm256_castsi256_ps(_mm256_and_si256(blocks, _mm256_set1_epi32(static_cast<int>(0xFFFF0000))));
}

// ---- packed queries

// The largest 16-bit magnitude whose products with `dims` 8-bit numbers add up below 2^31.
DS_INLINE float MostOfQuery(int64_t dims) {
  const int64_t most = 0x7FFFFFFF / (127 * dims);
  return static_cast<float>(most < 32767 ? most : 32767);
}

void PackQueryQ8(const KvGeometry& g, const float* query, float scale, std::byte* packed) {
  auto* out = packed;
  auto* scales = reinterpret_cast<float*>(packed + g.key_pad * 4);
  for (int64_t s = 0; s < g.num_sections; ++s) {
    const int64_t dims = g.section_dims[s];
    const auto at = [&](int64_t k) __attribute__((always_inline)) {
      return k + 8 <= dims ? Load(query + k) : k < dims ? LoadPart(query + k, dims - k) : Set1(0);
    };
    F largest = Set1(0), poison = Set1(0);  // 0, or NaN where the query has NaN or infinity
    for (int64_t k = 0; k < dims; k += 8) {
      largest = Max(Max(at(k), Sub(Set1(0), at(k))), largest);
      poison = Fma(at(k), Set1(0), poison);
    }
    const float max = ReduceMax(largest), most = MostOfQuery(g.section_pad[s]);
    scales[s] = max / most * scale + ReduceSum(poison);
    const F inverse = Set1(max > 0 ? most / max : 0.0f);
    for (int64_t k = 0; k < g.section_pad[s]; k += 8, out += 16) {
      const __m256i rounded = _mm256_cvtps_epi32(Mul(at(k), inverse));
      _mm_storeu_si128(
          reinterpret_cast<__m128i*>(out),
          _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)));
    }
    query += dims;
  }
}

void PackQuery(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  const KvGeometry g = GeometryOf(layout);
  if (g.type == KvType::kQ8) return PackQueryQ8(g, query, scale, packed);
  PackFloats(g, query, scale, reinterpret_cast<float*>(packed));
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
  const float* query[Q];
  for (int q = 0; q < Q; ++q) query[q] = reinterpret_cast<const float*>(queries + q * query_bytes);
  for (int64_t at = 0; at < pair_bytes; at += 64) {
    if (next != nullptr) {
      for (int p = 0; p < 4; ++p) Prefetch(next + p * pair_bytes + at);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {  // 8 dims
      F dims[Q], even[Q];
      for (int q = 0; q < Q; ++q) {
        dims[q] = Load(query[q] + 8 * i);
        even[q] = _mm256_moveldup_ps(dims[q]);
      }
      for (int p = 0; p < 4; ++p) {
        const F key = EvenDims(LoadInts(keys + p * pair_bytes + at + 32 * i));
        for (int q = 0; q < Q; ++q) sum[q][p] = Fma(even[q], key, sum[q][p]);
      }
      for (int q = 0; q < Q; ++q) dims[q] = _mm256_movehdup_ps(dims[q]);
      for (int p = 0; p < 4; ++p) {
        const F key = OddDims(LoadInts(keys + p * pair_bytes + at + 32 * i));
        for (int q = 0; q < Q; ++q) sum[q][p] = Fma(dims[q], key, sum[q][p]);
      }
    }
    for (int q = 0; q < Q; ++q) query[q] += 16;
  }
  for (int q = 0; q < Q; ++q) {
    __m128 four[4];
    for (int p = 0; p < 4; ++p) four[p] = SumTo4(sum[q][p]);
    for (int p = 0; p < 4; p += 2) {
      const __m128 low = _mm_movelh_ps(four[p], four[p + 1]), high = _mm_movehl_ps(four[p + 1], four[p]);
      const __m128 both = _mm_add_ps(low, high);
      _mm_storeu_ps(scores + q * kKvBlock + 2 * p, both);
    }
  }
}

struct SectionQ8 {
  int64_t bytes;        // of one quad
  const float* scales;  // of the eight tokens' keys
};

// Eight tokens, two quads quad_bytes apart, against Q queries; `next` as above.
template <int Q>
DS_INLINE void ScoresQ8(const std::byte* queries, int64_t query_bytes, const std::byte* query_scales,
                        const std::byte* keys, int64_t quad_bytes, const std::byte* next,
                        const SectionQ8* sections, int64_t num_sections, float* scores) {
  F total[Q];
  const std::byte* query[Q];
  for (int q = 0; q < Q; ++q) {
    total[q] = Set1(0);
    query[q] = queries + q * query_bytes;
  }
  int64_t at = 0;
  for (int64_t s = 0; s < num_sections; ++s) {
    __m256i sum[Q][2];
    for (int q = 0; q < Q; ++q) sum[q][0] = sum[q][1] = _mm256_setzero_si256();
    for (const int64_t end = at + sections[s].bytes; at < end; at += 64) {
      if (next != nullptr) {
        Prefetch(next + at);
        Prefetch(next + quad_bytes + at);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {  // 4 dims
        const __m256i key0 = Widen(LoadBlock(keys + at + 16 * i));
        const __m256i key1 = Widen(LoadBlock(keys + quad_bytes + at + 16 * i));
        for (int q = 0; q < Q; ++q) {
          const __m256i dims = FourWords(query[q] + 8 * i);
          sum[q][0] = AddProducts(sum[q][0], dims, key0);
          sum[q][1] = AddProducts(sum[q][1], dims, key1);
        }
      }
      for (int q = 0; q < Q; ++q) query[q] += 32;
    }
    const F key_scales = Load(sections[s].scales);
    for (int q = 0; q < Q; ++q) {
      const F dots = _mm256_cvtepi32_ps(SumNeighbours(sum[q][0], sum[q][1]));
      const float query_scale = reinterpret_cast<const float*>(query_scales + q * query_bytes)[s];
      const F scale = Mul(key_scales, Set1(query_scale));
      total[q] = Fma(dots, scale, total[q]);
    }
  }
  for (int q = 0; q < Q; ++q) Store(scores + q * kKvBlock, total[q]);
}

void BlockScoresBF16(const Block& b, float* scores) {
  const int64_t pair_bytes = b.g.key_pad * 4;
  const auto keys_of = [&](int64_t token) __attribute__((always_inline)) {
    return b.Group(token) + token % kKvGroup / 2 * pair_bytes;
  };
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const std::byte* keys = keys_of(t);
    const std::byte* next = t + 8 < b.seen.end ? keys_of(t + 8) : nullptr;
    b.PrefetchValues(t, 8);
    InTiles<2>(b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
      ScoresBF16<decltype(number)::kValue>(b.queries + q * b.query_bytes, b.query_bytes, keys, pair_bytes,
                                           q == 0 ? next : nullptr, scores + q * kKvBlock + t);
    });
  }
}

void BlockScoresQ8(const Block& b, float* scores) {
  const int64_t quad_bytes = b.g.key_pad * 4;
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const std::byte* group = b.Group(t);
    const int64_t slot = t % kKvGroup;
    const std::byte* keys = group + slot / 4 * quad_bytes;
    const std::byte* next =
        t + 8 < b.seen.end ? b.Group(t + 8) + (t + 8) % kKvGroup / 4 * quad_bytes : nullptr;
    b.PrefetchValues(t, 8);
    SectionQ8 sections[2];
    for (int64_t s = 0; s < b.g.num_sections; ++s) {
      sections[s] = {b.g.section_pad[s] * 4,
                     reinterpret_cast<const float*>(group + b.g.key_scales_at[s]) + slot};
    }
    InTiles<4>(b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
      const std::byte* queries = b.queries + q * b.query_bytes;
      ScoresQ8<decltype(number)::kValue>(queries, b.query_bytes, queries + b.g.key_pad * 4, keys, quad_bytes,
                                         q == 0 ? next : nullptr, sections, b.g.num_sections,
                                         scores + q * kKvBlock + t);
    });
  }
}

// ---- values

// values [Q queries, 8 dims] = values * kept + weights [Q, kKvBlock] . stored values.
template <int Q>
DS_INLINE void ValuesBF16(const Block& b, int64_t column, const float* weights, const float* kept,
                          float* values) {
  F even[Q], odd[Q];
  for (int q = 0; q < Q; ++q) even[q] = odd[q] = Set1(0);
  for (int64_t t = b.seen.begin; t < b.seen.end;) {
    const std::byte* from = b.Group(t) + b.g.values_at + t % kKvGroup / 2 * b.g.value_stride + column * 4;
    for (const int64_t end = AtMost(b.seen.end, (t / kKvGroup + 1) * kKvGroup); t < end;
         t += 2, from += b.g.value_stride) {
      const __m256i blocks = LoadInts(from);
      const F evens = EvenDims(blocks), odds = OddDims(blocks);
      for (int q = 0; q < Q; ++q) {
        const F pair = _mm256_castpd_ps(
            _mm256_broadcast_sd(reinterpret_cast<const double*>(weights + q * kKvBlock + t)));
        even[q] = Fma(pair, evens, even[q]);
        odd[q] = Fma(pair, odds, odd[q]);
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    // dims 0, 2, 1, 3, 4, 6, 5, 7
    const F both = _mm256_hadd_ps(even[q], odd[q]);
    float* to = values + q * b.g.value_pad;
    Store(to, Fma(Load(to), Set1(kept[q]), _mm256_permute_ps(both, 0xD8)));
  }
}

// The same with weights [Q, kKvBlock] in 16 bits, in units of unit[q].
template <int Q>
DS_INLINE void ValuesQ8(const Block& b, int64_t column, const int16_t* weights, const float* kept,
                        const float* unit, float* values) {
  // Transposes 4x4 bytes: the four tokens of a dim come to lie together.
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m256i sum[Q][2];
  for (int q = 0; q < Q; ++q) sum[q][0] = sum[q][1] = _mm256_setzero_si256();
  for (int64_t t = b.seen.begin; t < b.seen.end;) {
    const std::byte* from = b.Group(t) + b.g.values_at + t % kKvGroup / 4 * b.g.value_stride + column * 4;
    for (const int64_t end = AtMost(b.seen.end, (t / kKvGroup + 1) * kKvGroup); t < end;
         t += 4, from += b.g.value_stride) {
      const __m256i value0 = Widen(_mm_shuffle_epi8(LoadBlock(from), order));
      const __m256i value1 = Widen(_mm_shuffle_epi8(LoadBlock(from + 16), order));
      for (int q = 0; q < Q; ++q) {
        const __m256i weight = FourWords(reinterpret_cast<const std::byte*>(weights + q * kKvBlock + t));
        sum[q][0] = AddProducts(sum[q][0], weight, value0);
        sum[q][1] = AddProducts(sum[q][1], weight, value1);
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    float* to = values + q * b.g.value_pad;
    const F dots = _mm256_cvtepi32_ps(SumNeighbours(sum[q][0], sum[q][1]));
    Store(to, Fma(dots, Set1(unit[q]), Mul(Load(to), Set1(kept[q]))));
  }
}

void BlockValuesBF16(const Block& b, const float* weights, const float* kept, float* values) {
  for (int64_t c = 0; c < b.g.value_pad; c += 8) {
    InTiles<6>(b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
      ValuesBF16<decltype(queries)::kValue>(b, c, weights + q * kKvBlock, kept + q,
                                            values + q * b.g.value_pad + c);
    });
  }
}

void BlockValuesQ8(const Block& b, const int16_t* weights, const float* kept, const float* unit,
                   float* values) {
  for (int64_t c = 0; c < b.g.value_pad; c += 8) {
    InTiles<6>(b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
      ValuesQ8<decltype(queries)::kValue>(b, c, weights + q * kKvBlock, kept + q, unit + q,
                                          values + q * b.g.value_pad + c);
    });
  }
}

// Weights times the scales of their values, in 16 bits; returns the unit.
float RoundWeights(const Block& b, float* weights, int16_t* rounded) {
  F largest = Set1(0);
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const auto* scales = reinterpret_cast<const float*>(b.Group(t) + b.g.value_scales_at) + t % kKvGroup;
    const F scaled = Mul(Load(weights + t), Load(scales));
    Store(weights + t, scaled);
    largest = Max(scaled, largest);
  }
  const float max = ReduceMax(largest);
  const F inverse = Set1(max > 0 ? kMostWeight / max : 0.0f);
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 8) {
    const __m256i ints = _mm256_cvtps_epi32(Mul(Load(weights + t), inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded + t),
                     _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1)));
  }
  return max / kMostWeight;
}

void Attend(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  const KvGeometry g = GeometryOf(*span.layout);
  if (g.type == KvType::kF32) return AttendFloats(span, result, scratch);
  const bool is_bf16 = g.type == KvType::kBF16;
  auto* scores = reinterpret_cast<float*>(scratch);
  auto* rounded = reinterpret_cast<int16_t*>(scores + kQueryTile * kKvBlock);
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
      if (!is_bf16) unit[q] = RoundWeights(b, own, rounded + q * kKvBlock);
    }
    if (is_bf16) {
      BlockValuesBF16(b, scores, kept, result.values);
    } else {
      BlockValuesQ8(b, rounded, kept, unit, result.values);
    }
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

constinit const AttentionKernels kAvx2Attention = {
    .name = "avx2",
    .pack_query = PackQuery,
    .attend = Attend,
    .fast_type = KvType::kF32,
    .store_group = StoreGroup,
    .products = Products,
    .join = JoinResults,
};

}  // namespace deepshock
