// SPDX-License-Identifier: Apache-2.0
// Attention with AVX2: float32 states through the shared templates, 16-bit ones as in
// simd/attention_ints_inl.h. 8-bit ones become 16-bit integers in registers of 4 dims of 4 tokens; queries
// and weights are rounded as theirs. Lanes of one token (of one dim, for values) are added at the end.
#include "kernels/avx2/words.h"
// After words.h.
#include "kernels/simd/attention_ints_inl.h"

namespace deepshock {
namespace {

// 16 bytes as 16-bit integers.
DS_INLINE Words Widen(__m128i bytes) { return _mm256_cvtepi8_epi16(bytes); }
DS_INLINE __m128i LoadBlock(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
// Four 16-bit integers, repeated four times.
DS_INLINE Words FourWords(const std::byte* p) {
  long long words;
  __builtin_memcpy(&words, p, sizeof(words));
  return _mm256_set1_epi64x(words);
}
// Sums of neighbouring lanes: a's four, then b's.
DS_INLINE Words SumNeighbours(Words a, Words b) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8);
}

// The four lanes of a token are added as integers.
void PackQueryQ8(const KvGeometry& g, const float* query, float scale, std::byte* packed) {
  PackQueryWords(g, query, scale, kMostInLaneQ8 / 4, packed);
}

// ---- scores

struct SectionQ8 {
  int64_t bytes;        // of one quad
  const float* scales;  // of the eight tokens' keys
};

// Eight tokens, two quads quad_bytes apart, against Q queries.
template <int Q>
DS_INLINE void ScoresQ8(const std::byte* queries, int64_t query_bytes, const std::byte* query_scales,
                        const std::byte* keys, int64_t quad_bytes, Ahead ahead, const SectionQ8* sections,
                        int64_t num_sections, float* scores) {
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
      ahead.Step();
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

void BlockScoresQ8(const Block& b, float* scores) {
  constexpr int kTile = 4;
  const int64_t quad_bytes = b.g.key_pad * 4, tiles = (b.num_queries + kTile - 1) / kTile;
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
    InTiles<kTile>(
        b.num_queries, [&](int64_t q, auto number) __attribute__((always_inline)) {
          const std::byte* queries = b.queries + q * b.query_bytes;
          const Ahead ahead = AheadOf(next, 2, quad_bytes / 64, q / kTile, tiles);
          ScoresQ8<decltype(number)::kValue>(queries, b.query_bytes, queries + b.g.key_pad * 4, keys,
                                             quad_bytes, ahead, sections, b.g.num_sections,
                                             scores + q * kKvBlock + t);
        });
  }
}

// ---- values

// values [Q queries, 8 dims] = values * kept + weights . stored values. weights [Q, kKvBlock] in 16 bits, in
// units of unit[q].
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

void BlockValuesQ8(const Block& b, const int16_t* weights, const float* kept, const float* unit,
                   float* values) {
  for (int64_t c = 0; c < b.g.value_pad; c += 8) {
    InTiles<6>(
        b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
          ValuesQ8<decltype(queries)::kValue>(b, c, weights + q * kKvBlock, kept + q, unit + q,
                                              values + q * b.g.value_pad + c);
        });
  }
}

float RoundWeightsQ8(const Block& b, float* weights, int16_t* rounded) {
  return RoundWeightsToWords(b, kMostInLaneQ8, weights, rounded);
}

struct Q8 {
  using Weight = int16_t;
  static constexpr auto PackQuery = PackQueryQ8;
  static constexpr auto Scores = BlockScoresQ8;
  static constexpr auto RoundWeights = RoundWeightsQ8;
  static constexpr auto Values = BlockValuesQ8;
};

}  // namespace

constinit const AttentionKernels kAvx2Attention = {
    .name = "avx2",
    .pack_query = PackQueryInts<Q8>,
    .attend = AttendInts<Q8>,
    .fast_type = KvType::kQ16,
    .store_group = StoreGroupQ16,
    .products = ProductsInts,
    .join = JoinResults,
};

}  // namespace deepshock
