// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/peak_loops.h"

namespace deepshock {
namespace {
// Enough independent sums to hide the latency of a product.
constexpr int kSums = 16;
}  // namespace

int64_t PeakInt8Neon(int64_t rounds, int32_t* sink) {
  const int8x16_t a = vdupq_n_s8(1);
  int8x16_t b = vdupq_n_s8(static_cast<int8_t>(rounds & 1));
  int32x4_t sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+w"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+w"(b));  // not a constant, so nothing leaves the loop
    for (int i = 0; i < kSums; ++i) sums[i] = vdotq_s32(sums[i], a, b);
  }
  int32x4_t sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = vaddq_s32(sum, sums[i]);
  vst1q_s32(sink, sum);
  return rounds * kSums * 32;
}

int64_t PeakFloatNeon(int64_t rounds, float* sink) {
  float32x4_t a = vdupq_n_f32(static_cast<float>(rounds & 1));
  float32x4_t sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+w"(sum));  // not known to be equal, so all are computed
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+w"(a));
    for (int i = 0; i < kSums; ++i) sums[i] = vfmaq_f32(sums[i], a, a);
  }
  float32x4_t sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = vaddq_f32(sum, sums[i]);
  vst1q_f32(sink, sum);
  return rounds * kSums * 8;
}

}  // namespace deepshock
