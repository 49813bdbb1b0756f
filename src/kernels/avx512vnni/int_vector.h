// SPDX-License-Identifier: Apache-2.0
// AVX-512 integers (BW, VL, VNNI) under the names that simd/interleaved*_inl.h use. Internal linkage: see
// kernels/isa.h.
#pragma once

#include "kernels/avx512/vector.h"

namespace deepshock {
namespace {

using I = __m512i;
// 16 sums, 8 codes, 4 running products, their scales: 31 of 32 registers.
constexpr int kMaxTileRows = 16;
constexpr int kTileParts = 1;
// Tiles of up to so many rows repeat their code for each 32 columns of 256, so that shifts are by known
// numbers of bits: one instruction instead of two.
constexpr int kUnrolledRows = 8;
// vpdpbusd multiplies unsigned by signed bytes: 8-bit codes are made unsigned by an offset of 2^7.
constexpr int kSignedOffsetBits = 7;

DS_INLINE I SplatI(int32_t v) { return _mm512_set1_epi32(v); }
DS_INLINE I SplatBytes(uint8_t v) { return _mm512_set1_epi8(static_cast<char>(v)); }
DS_INLINE I LoadI(const void* p) { return _mm512_loadu_si512(p); }
DS_INLINE I LoadBytes(const void* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
DS_INLINE F LoadF16(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
DS_INLINE I And(I a, I b) { return _mm512_and_si512(a, b); }
DS_INLINE I Or(I a, I b) { return _mm512_or_si512(a, b); }
DS_INLINE I SubBytes(I a, I b) { return _mm512_sub_epi8(a, b); }
template <int kBits>
DS_INLINE I ShiftLeft(I v) {
  return _mm512_slli_epi32(v, kBits);
}
template <int kBits>
DS_INLINE I ShiftRight(I v) {
  return _mm512_srli_epi32(v, kBits);
}
template <int kBits>
DS_INLINE I ShiftRightSigned(I v) {
  return _mm512_srai_epi32(v, kBits);
}
DS_INLINE I ShiftRight(I v, int64_t bits) { return _mm512_srli_epi32(v, static_cast<unsigned>(bits)); }
DS_INLINE I Lookup(const uint8_t table[16], I nibbles) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), nibbles);
}
DS_INLINE I SignedCodes(I v) { return _mm512_xor_si512(v, SplatBytes(0x80)); }
// sum + the four products of each lane's unsigned codes with the signed bytes.
DS_INLINE I Dot4(I sum, I codes, I bytes) { return _mm512_dpbusd_epi32(sum, codes, bytes); }
// With the four bytes at `word` for all lanes, read as they are used: GCC would load them apart, and two
// instructions for a product are more than the processor's front end brings.
DS_INLINE I Dot4Word(I sum, I codes, const int8_t* word) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*reinterpret_cast<const int32_t*>(word)));
  return sum;
}
template <int kBits>
DS_INLINE I SplatShiftedLeft(const int32_t* p) {
  I out;
  asm("vpslld %2, %1%{1to16%}, %0" : "=v"(out) : "m"(*p), "i"(kBits));
  return out;
}
DS_INLINE I DotSigned4(I sum, I, I) { return sum; }  // never: kSignedOffsetBits
// Products are added in 32 bits at once: the three below are never called.
constexpr int kMostPairedCodes = 0;
DS_INLINE I DotPairs(I codes, I) { return codes; }
DS_INLINE I AddPairs(I a, I) { return a; }
DS_INLINE I AddWidened(I sum, I) { return sum; }
DS_INLINE I MaxI(I a, I b) { return _mm512_max_epi32(a, b); }
DS_INLINE int32_t LargestLane(I v) { return _mm512_reduce_max_epi32(v); }
DS_INLINE int32_t SumLanes(I v) { return _mm512_reduce_add_epi32(v); }
DS_INLINE I BitsOf(F v) { return _mm512_castps_si512(v); }
DS_INLINE F Negated(F v) { return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f)); }
DS_INLINE F ToF(I v) { return _mm512_cvtepi32_ps(v); }
DS_INLINE I RoundToI(F v) { return _mm512_cvtps_epi32(v); }
DS_INLINE void StoreAsBytes(int8_t* p, I v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(v));
}
// The lower and the upper F16 of each lane.
DS_INLINE F LowF16(I v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }
DS_INLINE F HighF16(I v) { return LowF16(ShiftRight<16>(v)); }
// 2^(e - 128) of an E8M0 exponent; NaN for 255.
DS_INLINE F HalfE8M0(I e) {
  // Below 2 the result is a denormal: 2^-128 and 2^-127.
  const I normal = ShiftLeft<23>(_mm512_sub_epi32(e, SplatI(1)));
  const I denormal = _mm512_sllv_epi32(SplatI(0x00200000), e);
  I bits = _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(e, SplatI(2)), normal, denormal);
  bits = _mm512_mask_blend_epi32(_mm512_cmpeq_epi32_mask(e, SplatI(255)), bits, SplatI(0x7FC00000));
  return _mm512_castsi512_ps(bits);
}

}  // namespace
}  // namespace deepshock
