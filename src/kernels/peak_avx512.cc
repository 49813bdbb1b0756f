// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace deepshock {
namespace {
// Enough independent sums to hide the latency of a product.
constexpr int kSums = 16;
}  // namespace

int64_t PeakFloatAvx512(int64_t rounds, float* sink) {
  __m512 a = _mm512_set1_ps(static_cast<float>(rounds & 1));
  __m512 sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+v"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(a));  // not a constant, so nothing leaves the loop
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(a, a, sums[i]);
  }
  __m512 sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm512_add_ps(sum, sums[i]);
  _mm512_storeu_ps(sink, sum);
  return rounds * kSums * 32;
}

}  // namespace deepshock
