// SPDX-License-Identifier: Apache-2.0
// What the quantisers share: the search for the scale of a group that leaves the
// smallest weighted squared error. Pure functions, any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/codec_float.h"

namespace deepshock {

// Sums over a group run in this many lanes, so that they vectorise without reordering float additions. Groups
// are whole lanes.
constexpr int kLanes = 8;

inline float SumLanes(const float lanes[kLanes]) {
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

// x to the nearest integer in [low, high], ties to even; x is clamped first, so any size will do.
// Adding and taking away 1.5 * 2^23 rounds at the unit bit, and unlike a library call it vectorises without
// SSE4.1.
inline float RoundClamped(float x, float low, float high) {
  constexpr float kMagic = 12582912.0f;
  return (std::min(std::max(x, low), high) + kMagic) - kMagic;
}

// 0 for scales so small that their inverse is not finite: then every element is written as zero.
inline float InverseOrZero(float scale) {
  const float inverse = 1.0f / scale;
  return inverse > -3e38f && inverse < 3e38f ? inverse : 0.0f;
}

// The nearest F16, but never zero for a scale that is not: a coarse scale beats none.
inline uint16_t RoundScaleToF16(float scale) {
  const uint16_t half = F32ToF16(scale);
  return (half & 0x7FFF) == 0 && scale != 0 ? static_cast<uint16_t>(half | 1) : half;
}

// Weighted squared error of scale * round((x + min) / scale) - min, the rounded number kept in [low, high].
inline float GroupError(const float* x, const float* weights, int n, float scale, float min, float low,
                        float high) {
  const float inverse = InverseOrZero(scale);
  float sum[kLanes] = {};
  for (int i = 0; i < n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = RoundClamped(inverse * (x[i + l] + min), low, high);
      const float error = x[i + l] - (scale * q - min);
      sum[l] += weights[i + l] * error * error;
    }
  }
  return SumLanes(sum);
}

// The s (of either sign) for which s * round(x / s), with the rounded number kept in [low, high], low < 0 <
// high, is closest to x. Tries scales around the one that puts the largest element at an end of the range,
// each followed by the least-squares scale for its rounding.
float FindScale(const float* x, const float* weights, int n, int low, int high);

// The scale >= 0 and min >= 0 for which scale * q - min, q in 0..high, is closest to x.
struct AffineScale {
  float scale;
  float min;
};
AffineScale FindScaleAndMin(const float* x, const float* weights, int n, int high);

}  // namespace deepshock
