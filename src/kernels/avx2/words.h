// SPDX-License-Identifier: Apache-2.0
// AVX2's 16-bit integers under the names that simd/attention_ints_inl.h uses. Internal linkage: see
// kernels/isa.h.
#pragma once

#include <cstddef>

#include "kernels/avx2/vector.h"

namespace deepshock {
namespace {

using Words = __m256i;  // 16 of them, or 8 sums
constexpr int kWordsBytes = 32;
// Queries in a tile: with 4 registers of tokens 8 sums, 4 of keys, 2 of queries. Registers of values.
constexpr int kScoreTile = 2, kValueTile = 4, kValueColumns = 2;

DS_INLINE Words NoWords() { return _mm256_setzero_si256(); }
DS_INLINE Words LoadWords(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
DS_INLINE F ToFloats(Words sums) { return _mm256_cvtepi32_ps(sums); }
// Rounded to the nearest, ties to even.
DS_INLINE void StoreWords(int16_t* p, F v) {
  const __m256i ints = _mm256_cvtps_epi32(v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1)));
}
// Sums of products of two neighbours.
DS_INLINE Words AddProducts(Words sum, Words a, Words b) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  asm("" : "+x"(sum));  // GCC would regroup a chain of additions to a tree that does not fit the registers
  return sum;
}
// Each pair of half a register's words two times.
DS_INLINE Words LoadPairsTwice(const std::byte* p) {
  const __m128i pairs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pairs),
                                     _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
DS_INLINE Words LoadPairEverywhere(const int16_t* p) {
  int pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm256_set1_epi32(pair);
}
// Exchanges the middle two of every four: two tokens of a dim come to lie together.
DS_INLINE Words TokenPairs(Words v) {
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}
// Two rows of kLanes words in blocks of two by two.
DS_INLINE void StoreBlocks(const int16_t* row0, const int16_t* row1, std::byte* out) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row0));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row1));
  auto* to = reinterpret_cast<__m128i*>(out);
  _mm_storeu_si128(to, _mm_unpacklo_epi32(a, b));
  _mm_storeu_si128(to + 1, _mm_unpackhi_epi32(a, b));
}
// The sum of a's even lanes, of its odd ones, of b's even ones, ...
DS_INLINE __m256 SumOfPairs(F a, F b, F c, F d) {
  const auto two = [](F x, F y) __attribute__((always_inline)) {
    const __m128 x4 = SumTo4(x), y4 = SumTo4(y);
    return _mm_add_ps(_mm_movelh_ps(x4, y4), _mm_movehl_ps(y4, x4));
  };
  return _mm256_set_m128(two(c, d), two(a, b));
}

}  // namespace
}  // namespace deepshock
