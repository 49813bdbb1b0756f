// SPDX-License-Identifier: Apache-2.0
// AVX-512 (F, BW, DQ, VL) under the names that simd/*_inl.h use. Internal linkage: see kernels/isa.h.
#pragma once

// GCC 12 takes the deliberately undefined operands inside its own intrinsics for mistakes (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

#define DS_INLINE inline __attribute__((always_inline))

namespace deepshock {
namespace {

using F = __m512;
constexpr int kLanes = 16;
// 4 rows x 6 tokens of sums, 6 of activations and 1 of weights: 31 of 32 registers.
constexpr int kTileTokens = 6;

DS_INLINE __mmask16 First(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

DS_INLINE F Set1(float v) { return _mm512_set1_ps(v); }
DS_INLINE F Load(const float* p) { return _mm512_loadu_ps(p); }
DS_INLINE void Store(float* p, F v) { _mm512_storeu_ps(p, v); }
// The first n < kLanes lanes; the others load as zero.
DS_INLINE F LoadPart(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
DS_INLINE void StorePart(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, First(n), v); }

// Loaded once: compilers would rather load again for every use, where loads are what limits.
DS_INLINE F InRegister(F v) {
  asm("" : "+v"(v));
  return v;
}
DS_INLINE F Add(F a, F b) { return _mm512_add_ps(a, b); }
DS_INLINE F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
DS_INLINE F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
DS_INLINE F Div(F a, F b) { return _mm512_div_ps(a, b); }
DS_INLINE F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
// The second operand where one is NaN.
DS_INLINE F Max(F a, F b) { return _mm512_max_ps(a, b); }
DS_INLINE F Min(F a, F b) { return _mm512_min_ps(a, b); }
DS_INLINE F Round(F v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v 2^n for integral n.
DS_INLINE F TimesPowerOf2(F v, F n) { return _mm512_scalef_ps(v, n); }

DS_INLINE __m256 UpperHalf(F v) { return _mm512_extractf32x8_ps(v, 1); }
DS_INLINE __m256 LowerHalf(F v) { return _mm512_castps512_ps256(v); }
DS_INLINE __m128 SumTo4(F v) {
  const __m256 h = _mm256_add_ps(LowerHalf(v), UpperHalf(v));
  return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
DS_INLINE __m128 MaxTo4(F v) {
  const __m256 h = _mm256_max_ps(LowerHalf(v), UpperHalf(v));
  return _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

// Sixteen consecutive elements of a row.
struct Sixteen {
  F v[1];
};
DS_INLINE Sixteen FromInt8(__m128i q) { return {{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q))}}; }
DS_INLINE Sixteen FromF16(__m256i h) { return {{_mm512_cvtph_ps(h)}}; }
DS_INLINE __m256i Load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
DS_INLINE Sixteen FromF16(const uint8_t* p) { return FromF16(Load32(p)); }
DS_INLINE Sixteen FromBF16(const uint8_t* p) {
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load32(p)), 16))}};
}

}  // namespace
}  // namespace deepshock

#include "kernels/simd/x86_inl.h"  // after the types above
