// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace deepshock {
namespace {
// Enough independent sums to hide the latency of a product.
constexpr int kSums = 12;
}  // namespace

// Without VNNI a product of bytes is vpmaddubsw, vpmaddwd by ones and an addition.
int64_t PeakInt8Avx2(int64_t rounds, int32_t* sink) {
  const __m256i a = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  __m256i b = _mm256_set1_epi8(static_cast<char>(rounds & 1));
  __m256i sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+x"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+x"(b));  // not a constant: each sum needs a product of its own
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  __m256i sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm256_add_epi32(sum, sums[i]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sink), sum);
  return rounds * kSums * 64;
}

int64_t PeakFloatAvx2(int64_t rounds, float* sink) {
  __m256 a = _mm256_set1_ps(static_cast<float>(rounds & 1));
  __m256 sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+x"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+x"(a));
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(a, a, sums[i]);
  }
  __m256 sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm256_add_ps(sum, sums[i]);
  _mm256_storeu_ps(sink, sum);
  return rounds * kSums * 16;
}

}  // namespace deepshock
