// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI's 16-bit integers under the names that simd/attention_ints_inl.h uses. Internal linkage: see
// kernels/isa.h.
#pragma once

#include <cstddef>

#include "kernels/avx512/vector.h"

namespace deepshock {
namespace {

using Words = __m512i;  // 32 of them, or 16 sums
constexpr int kWordsBytes = 64;
// Queries in a tile: with 4 registers of tokens 24 sums, 4 of keys, 1 of a query. Registers of values.
constexpr int kScoreTile = 6, kValueTile = 6, kValueColumns = 4;

// GCC would move sums of a tile between registers and the stack.
DS_INLINE Words InRegister(Words v) {
  asm("" : "+v"(v));
  return v;
}
DS_INLINE Words NoWords() { return _mm512_setzero_si512(); }
DS_INLINE Words LoadWords(const std::byte* p) { return _mm512_loadu_si512(p); }
DS_INLINE F ToFloats(Words sums) { return _mm512_cvtepi32_ps(sums); }
// Rounded to the nearest, ties to even.
DS_INLINE void StoreWords(int16_t* p, F v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(v)));
}
// Sums of products of two neighbours.
DS_INLINE Words AddProducts(Words sum, Words a, Words b) {
  return InRegister(_mm512_dpwssd_epi32(sum, a, b));
}
// Lane i: v's lane order[i]. GCC 12 copies an undefined register for each of its own.
DS_INLINE __m512i Permute(__m512i order, __m512i v) {
  __m512i out;
  asm("vpermd %2, %1, %0" : "=v"(out) : "v"(order), "v"(v));
  return out;
}
// Each pair of half a register's words two times.
DS_INLINE Words LoadPairsTwice(const std::byte* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return Permute(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                 _mm512_zextsi256_si512(pairs));
}
DS_INLINE Words LoadPairEverywhere(const int16_t* p) {
  int pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm512_set1_epi32(pair);
}
// Exchanges the middle two of every four: two tokens of a dim come to lie together.
DS_INLINE Words TokenPairs(Words v) {
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
// Two rows of kLanes words in blocks of two by two.
DS_INLINE void StoreBlocks(const int16_t* row0, const int16_t* row1, std::byte* out) {
  const __m512i interleave = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const auto load = [](const int16_t* row) __attribute__((always_inline)) {
    return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
  };
  _mm512_storeu_si512(out, _mm512_permutex2var_epi32(load(row0), interleave, load(row1)));
}

// Lane i (128 bits) of the result: the sum of a[i]'s four lanes.
DS_INLINE __m512i SumLanes(__m512i a0, __m512i a1, __m512i a2, __m512i a3) {
  const auto add = [](__m512i a, __m512i b) __attribute__((always_inline)) { return _mm512_add_epi32(a, b); };
  const __m512i x = add(_mm512_shuffle_i32x4(a0, a1, 0x44), _mm512_shuffle_i32x4(a0, a1, 0xEE));
  const __m512i y = add(_mm512_shuffle_i32x4(a2, a3, 0x44), _mm512_shuffle_i32x4(a2, a3, 0xEE));
  return add(_mm512_shuffle_i32x4(x, y, 0x88), _mm512_shuffle_i32x4(x, y, 0xDD));
}
DS_INLINE F SumLanes(F a0, F a1, F a2, F a3) {
  const F x = Add(_mm512_shuffle_f32x4(a0, a1, 0x44), _mm512_shuffle_f32x4(a0, a1, 0xEE));
  const F y = Add(_mm512_shuffle_f32x4(a2, a3, 0x44), _mm512_shuffle_f32x4(a2, a3, 0xEE));
  return Add(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xDD));
}
// The sum of a's even lanes, of its odd ones, of b's even ones, ...
DS_INLINE __m256 SumOfPairs(F a, F b, F c, F d) {
  const __m512i order = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
  const F pairs = SumLanes(a, b, c, d);
  const F both = Add(pairs, _mm512_shuffle_ps(pairs, pairs, 0x4E));
  return LowerHalf(_mm512_permutexvar_ps(order, both));
}

}  // namespace
}  // namespace deepshock
