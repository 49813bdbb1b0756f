// SPDX-License-Identifier: Apache-2.0
// AVX2 with FMA and F16C under the names that simd/*_inl.h use. Internal linkage: see kernels/isa.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define DS_INLINE inline __attribute__((always_inline))

namespace deepshock {
namespace {

using F = __m256;
constexpr int kLanes = 8;
// 4 rows x 3 tokens of sums, 3 of activations and 1 of weights: all 16 registers.
constexpr int kTileTokens = 3;

DS_INLINE __m256i First(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

DS_INLINE F Set1(float v) { return _mm256_set1_ps(v); }
DS_INLINE F Load(const float* p) { return _mm256_loadu_ps(p); }
DS_INLINE void Store(float* p, F v) { _mm256_storeu_ps(p, v); }
// The first n < kLanes lanes; the others load as zero.
DS_INLINE F LoadPart(const float* p, int64_t n) { return _mm256_maskload_ps(p, First(n)); }
DS_INLINE void StorePart(float* p, F v, int64_t n) { _mm256_maskstore_ps(p, First(n), v); }

// Loaded once: compilers would rather load again for every use, where loads are what limits.
DS_INLINE F InRegister(F v) {
  asm("" : "+x"(v));
  return v;
}
DS_INLINE F Add(F a, F b) { return _mm256_add_ps(a, b); }
DS_INLINE F Sub(F a, F b) { return _mm256_sub_ps(a, b); }
DS_INLINE F Mul(F a, F b) { return _mm256_mul_ps(a, b); }
DS_INLINE F Div(F a, F b) { return _mm256_div_ps(a, b); }
DS_INLINE F Fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
// The second operand where one is NaN.
DS_INLINE F Max(F a, F b) { return _mm256_max_ps(a, b); }
DS_INLINE F Min(F a, F b) { return _mm256_min_ps(a, b); }
DS_INLINE F Round(F v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v 2^n for integral |n| <= 250: in two steps, so that subnormal results come out right.
DS_INLINE F TimesPowerOf2(F v, F n) {
  const __m256i all = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(all, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const auto power = [&](__m256i e) __attribute__((always_inline)) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, bias), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(v, power(half)), power(_mm256_sub_epi32(all, half)));
}

DS_INLINE __m128 SumTo4(F v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }
DS_INLINE __m128 MaxTo4(F v) { return _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }

// Sixteen consecutive elements of a row.
struct Sixteen {
  F v[2];
};
DS_INLINE Sixteen FromInt8(__m128i q) {
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)))}};
}
DS_INLINE Sixteen FromF16(__m256i h) {
  return {{_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))}};
}
DS_INLINE F WidenBF16(__m128i h) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
// Halves are loaded apart: widening a half of a register would take an instruction more.
DS_INLINE __m128i LoadHalf(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
DS_INLINE Sixteen FromF16(const uint8_t* p) {
  return {{_mm256_cvtph_ps(LoadHalf(p)), _mm256_cvtph_ps(LoadHalf(p + 16))}};
}
DS_INLINE Sixteen FromBF16(const uint8_t* p) {
  return {{WidenBF16(LoadHalf(p)), WidenBF16(LoadHalf(p + 16))}};
}

}  // namespace
}  // namespace deepshock

#include "kernels/simd/x86_inl.h"  // after the types above
