// SPDX-License-Identifier: Apache-2.0
// Attention with AVX-512 VNNI: float32 states as in the avx512 room, 16-bit ones as in
// simd/attention_ints_inl.h. Of 8-bit ones queries are rounded to 8 bits with one scale a section, weights
// times the values' scales to 8 bits with one scale a block and query; a register holds 16 dims of 4 tokens.
#include "kernels/avx512vnni/words.h"
// After words.h.
#include "kernels/simd/attention_ints_inl.h"

namespace deepshock {
namespace {

constexpr int kTile = 6;  // queries: with 4 registers of tokens 24 sums, 4 of keys, 1 of a query

DS_INLINE __m512i LoadBytes(const void* p) { return _mm512_loadu_si512(p); }

// ---- packed queries

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
    const F inverse = Set1(InverseOf(max / 127));
    for (int64_t k = 0; k < g.section_pad[s]; k += 16, out += 16) {
      const __m512i rounded = _mm512_cvtps_epi32(Mul(at(k), inverse));
      const __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(rounded), _mm_set1_epi8(-128));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    }
    query += dims;
  }
}

// ---- scores

struct SectionQ8 {
  int64_t bytes;        // of one quad
  const float* scales;  // of the sixteen tokens' keys
  const int32_t* sums;
};

// Sixteen tokens from `keys` on against Q queries; quad_bytes from one quad of tokens to the next.
template <int Q>
DS_INLINE void ScoresQ8(const std::byte* queries, int64_t query_bytes, const std::byte* query_scales,
                        const std::byte* keys, int64_t quad_bytes, Ahead ahead, const SectionQ8* sections,
                        int64_t num_sections, float* scores) {
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
      ahead.Step();
      for (int q = 0; q < Q; ++q) {
        const __m128i quads =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(queries + q * query_bytes + at / 4));
        const __m512i query = Permute(four_times, _mm512_zextsi128_si512(quads));
        for (int p = 0; p < 4; ++p) sum[q][p] = InRegister(_mm512_dpbusd_epi32(sum[q][p], query, key[p]));
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

void BlockScoresQ8(const Block& b, float* scores) {
  const int64_t quad_bytes = b.g.key_pad * 4, tiles = (b.num_queries + kTile - 1) / kTile;
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
          const Ahead ahead = AheadOf(next, 4, quad_bytes / 64, q / kTile, tiles);
          ScoresQ8<decltype(number)::kValue>(queries, b.query_bytes, queries + b.g.key_pad * 4, keys,
                                             quad_bytes, ahead, sections, b.g.num_sections,
                                             scores + q * kKvBlock + t);
        });
  }
}

// ---- values

// Transposes 4x4 bytes in every 16.
DS_INLINE __m512i TokenQuads(__m512i v) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

// values [Q queries, C vectors of 16 dims] = values * kept + weights . stored values. weights [Q, kKvBlock]
// in 8 bits, in units of unit[q].
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
        for (int c = 0; c < C; ++c) sum[q][c] = InRegister(_mm512_dpbusd_epi32(sum[q][c], weight, v[c]));
      }
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int c = 0; c < C; ++c) {
      float* to = values + q * b.g.value_pad + c * 16;
      Store(to, Fma(ToFloats(sum[q][c]), Set1(unit[q]), Mul(Load(to), Set1(kept[q]))));
    }
  }
}

void BlockValuesQ8(const Block& b, const uint8_t* weights, const float* kept, const float* unit,
                   float* values) {
  InColumns<4>(
      b.g.value_pad, [&](int64_t c, auto columns) __attribute__((always_inline)) {
        InTiles<kTile>(
            b.num_queries, [&](int64_t q, auto queries) __attribute__((always_inline)) {
              ValuesQ8<decltype(queries)::kValue, decltype(columns)::kValue>(
                  b, c, weights + q * kKvBlock, kept + q, unit + q, values + q * b.g.value_pad + c);
            });
      });
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
  const F inverse = Set1(InverseOf(max / 255));
  for (int64_t t = b.seen.begin; t < b.seen.end; t += 16) {
    const __m512i bytes = _mm512_cvtps_epi32(Mul(Load(weights + t), inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded + t), _mm512_cvtusepi32_epi8(bytes));
  }
  return max / 255;
}

struct Q8 {
  using Weight = uint8_t;
  static constexpr auto PackQuery = PackQueryQ8;
  static constexpr auto Scores = BlockScoresQ8;
  static constexpr auto RoundWeights = RoundWeightsQ8;
  static constexpr auto Values = BlockValuesQ8;
};

}  // namespace

constinit const AttentionKernels kAvx512VnniAttention = {
    .name = "avx512vnni",
    .pack_query = PackQueryInts<Q8>,
    .attend = AttendInts<Q8>,
    .fast_type = KvType::kQ16,
    .store_group = StoreGroupQ16,
    .products = ProductsInts,
    .join = JoinResults,
};

}  // namespace deepshock
