// SPDX-License-Identifier: Apache-2.0
// AVX2 integers under the names that simd/interleaved*_inl.h use. Internal linkage: see kernels/isa.h.
#pragma once

#include "kernels/avx2/vector.h"

namespace deepshock {
namespace {

using I = __m256i;
// 4 rows' running products of both halves of a group at a time; codes and sums are read from the stack.
constexpr int kMaxTileRows = 8;
constexpr int kTileParts = 2;
constexpr int kUnrolledRows = 4;  // avx512vnni/int_vector.h
// vpmaddubsw adds two products in 16 bits with saturation: harmless for codes below 128. 8-bit codes stay
// signed and are multiplied by magnitude, the sign moved to the other factor (DotSigned4).
constexpr int kSignedOffsetBits = -1;

DS_INLINE I SplatI(int32_t v) { return _mm256_set1_epi32(v); }
DS_INLINE I SplatBytes(uint8_t v) { return _mm256_set1_epi8(static_cast<char>(v)); }
DS_INLINE I LoadI(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
DS_INLINE I LoadBytes(const void* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
}
DS_INLINE F LoadF16(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
DS_INLINE I And(I a, I b) { return _mm256_and_si256(a, b); }
DS_INLINE I Or(I a, I b) { return _mm256_or_si256(a, b); }
DS_INLINE I SubBytes(I a, I b) { return _mm256_sub_epi8(a, b); }
template <int kBits>
DS_INLINE I ShiftLeft(I v) {
  return _mm256_slli_epi32(v, kBits);
}
template <int kBits>
DS_INLINE I ShiftRight(I v) {
  return _mm256_srli_epi32(v, kBits);
}
template <int kBits>
DS_INLINE I ShiftRightSigned(I v) {
  return _mm256_srai_epi32(v, kBits);
}
DS_INLINE I ShiftRight(I v, int64_t bits) { return _mm256_srl_epi32(v, _mm_cvtsi64_si128(bits)); }
DS_INLINE I Lookup(const uint8_t table[16], I nibbles) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), nibbles);
}
DS_INLINE I SignedCodes(I v) { return v; }
// GCC regroups chains of additions to trees, whose many products at once do not fit the registers.
DS_INLINE I Kept(I v) {
  asm("" : "+x"(v));
  return v;
}
// sum + the four products of each lane's codes (below 128) with the signed bytes.
DS_INLINE I Dot4(I sum, I codes, I bytes) {
  const I pairs = _mm256_maddubs_epi16(codes, bytes);
  return Kept(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
// Sums of two products stay in 16 bits while the codes that meet there add up to no more than this:
// 2 * 127 * 129 < 2^15. So a row's products of several vectors are added before one vpmaddwd widens them.
constexpr int kMostPairedCodes = 129;
DS_INLINE I DotPairs(I codes, I bytes) { return _mm256_maddubs_epi16(codes, bytes); }
DS_INLINE I AddPairs(I a, I b) { return Kept(_mm256_add_epi16(a, b)); }
DS_INLINE I AddWidened(I sum, I pairs) {
  return Kept(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
// With the four bytes at `word` for all lanes.
DS_INLINE I Dot4Word(I sum, I codes, const int8_t* word) {
  int32_t bytes;
  __builtin_memcpy(&bytes, word, sizeof(bytes));
  return Dot4(sum, codes, SplatI(bytes));
}
template <int kBits>
DS_INLINE I SplatShiftedLeft(const int32_t* p) {
  return ShiftLeft<kBits>(SplatI(*p));
}
// The same as Dot4 for codes from -128 to 127 and bytes from -127 to 127: 2 * 128 * 127 fits 16 bits.
DS_INLINE I DotSigned4(I sum, I codes, I bytes) {
  return Dot4(sum, _mm256_abs_epi8(codes), _mm256_sign_epi8(bytes, codes));
}
DS_INLINE I MaxI(I a, I b) { return _mm256_max_epi32(a, b); }
DS_INLINE int32_t LargestLane(I v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
}
DS_INLINE int32_t SumLanes(I v) {
  __m128i m = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
}
DS_INLINE I BitsOf(F v) { return _mm256_castps_si256(v); }
DS_INLINE F Negated(F v) { return _mm256_xor_ps(v, _mm256_set1_ps(-0.0f)); }
DS_INLINE F ToF(I v) { return _mm256_cvtepi32_ps(v); }
DS_INLINE I RoundToI(F v) { return _mm256_cvtps_epi32(v); }
DS_INLINE void StoreAsBytes(int8_t* p, I v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
// The lower and the upper F16 of each lane.
DS_INLINE F LowF16(I v) {
  // Bytes 0, 1 of each word to the lower half of each 128-bit half, then the halves together.
  const I order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                   0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
  const I halves = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, order), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
}
DS_INLINE F HighF16(I v) { return LowF16(ShiftRight<16>(v)); }
// 2^(e - 128) of an E8M0 exponent; NaN for 255.
DS_INLINE F HalfE8M0(I e) {
  // Below 2 the result is a denormal: 2^-128 and 2^-127.
  const I normal = ShiftLeft<23>(_mm256_sub_epi32(e, SplatI(1)));
  const I denormal = _mm256_sllv_epi32(SplatI(0x00200000), e);
  I bits = _mm256_blendv_epi8(normal, denormal, _mm256_cmpgt_epi32(SplatI(2), e));
  bits = _mm256_blendv_epi8(bits, SplatI(0x7FC00000), _mm256_cmpeq_epi32(e, SplatI(255)));
  return _mm256_castsi256_ps(bits);
}

}  // namespace
}  // namespace deepshock
