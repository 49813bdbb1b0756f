// SPDX-License-Identifier: Apache-2.0
// What the x86 rooms share of the names that simd/*_inl.h use: sums of lanes, and vectors of sixteen bytes.
// Included at the end of their vector.h. Internal linkage: see kernels/isa.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace deepshock {
namespace {

// One order of additions for every sum of lanes.
DS_INLINE float ReduceSum(F v) {
  const __m128 four = SumTo4(v);
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Four sums of lanes at once, each in the order of ReduceSum.
DS_INLINE void ReduceSums(F a, F b, F c, F d, float* sums) {
  const __m128 a4 = SumTo4(a), b4 = SumTo4(b), c4 = SumTo4(c), d4 = SumTo4(d);
  const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a4, b4), _mm_unpackhi_ps(a4, b4));
  const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c4, d4), _mm_unpackhi_ps(c4, d4));
  _mm_storeu_ps(sums, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}
DS_INLINE float ReduceMax(F v) {
  const __m128 four = MaxTo4(v);
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
DS_INLINE float SquareRoot(float v) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(v))); }

using Bytes = __m128i;

DS_INLINE Bytes Load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
DS_INLINE Bytes EveryByte(int8_t v) { return _mm_set1_epi8(v); }
DS_INLINE Bytes OrBytes(Bytes a, Bytes b) { return _mm_or_si128(a, b); }
DS_INLINE Bytes SubBytes(Bytes a, Bytes b) { return _mm_sub_epi8(a, b); }
DS_INLINE Bytes LowNibbles(Bytes q) { return _mm_and_si128(q, _mm_set1_epi8(0xF)); }
DS_INLINE Bytes HighNibbles(Bytes q) { return _mm_and_si128(_mm_srli_epi16(q, 4), _mm_set1_epi8(0xF)); }
// For bytes below 16.
DS_INLINE Bytes ShiftBytesLeft4(Bytes q) { return _mm_slli_epi16(q, 4); }
DS_INLINE Bytes LookupBytes(const int8_t table[16], Bytes nibbles) {
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)), nibbles);
}
// a0 b0 a1 b1 ... of the lower and of the upper eight bytes.
DS_INLINE Bytes ZipLow(Bytes a, Bytes b) { return _mm_unpacklo_epi8(a, b); }
DS_INLINE Bytes ZipHigh(Bytes a, Bytes b) { return _mm_unpackhi_epi8(a, b); }
// Byte i: `value` where bit i of the mask is set, otherwise 0.
DS_INLINE Bytes WhereBit(uint32_t mask16, int8_t value) {
  const __m128i spread = _mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(mask16)),
                                          _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i bit = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, bit), bit), _mm_set1_epi8(value));
}
// Bits 2j, 2j+1 of each byte: one quarter of a K-quant's half of 128.
DS_INLINE Bytes TwoBits(Bytes q, int j) { return _mm_and_si128(_mm_srli_epi16(q, 2 * j), _mm_set1_epi8(3)); }
// `value` where the bit of the byte is set, otherwise 0.
DS_INLINE Bytes WhereBitOfByte(Bytes bytes, int bit, int8_t value) {
  const __m128i mask = _mm_set1_epi8(static_cast<char>(1 << bit));
  return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(bytes, mask), mask), _mm_set1_epi8(value));
}

DS_INLINE float FloatOfF16(uint16_t half) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half))); }
// E4M3's sign, exponent and fraction in their places of an F16; NaN stays NaN.
DS_INLINE Sixteen FromE4M3AsF16(Bytes bytes) {
  // Widened with its sign and shifted, a byte has its sign in bits 14 and 15.
  const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
  const __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16(static_cast<short>(0xBFFF)));
  const __m256i negative = _mm256_or_si256(wide, _mm256_set1_epi16(static_cast<short>(0xC000)));
  const __m256i nan = _mm256_cmpeq_epi16(negative, _mm256_set1_epi16(static_cast<short>(0xFF80)));
  return FromF16(_mm256_or_si256(half, nan));  // all ones is an F16 NaN
}

}  // namespace
}  // namespace deepshock
