// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace deepshock {
namespace {
// Enough independent sums to hide the latency of a product.
constexpr int kSums = 16;
}  // namespace

int64_t PeakInt8Avx512Vnni(int64_t rounds, int32_t* sink) {
  const __m512i a = _mm512_set1_epi8(1);
  __m512i b = _mm512_set1_epi8(static_cast<char>(rounds & 1));
  __m512i sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+v"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(b));  // not a constant, so nothing leaves the loop
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  __m512i sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm512_add_epi32(sum, sums[i]);
  _mm512_storeu_si512(sink, sum);
  return rounds * kSums * 128;
}

}  // namespace deepshock
