// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec_mxfp4.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/codec_float.h"

namespace deepshock {
namespace {

constexpr int kElements = 32;
// Largest scale exponent whose +-6 is still a finite float32; 4 * 2^125 covers all smaller values' octaves.
constexpr int kMaxExponent = 125;
constexpr int kMinExponent = -127;

// The nearest E2M1 number to x >= 0, ties to the even fraction; the index into kE2M1.
int NearestMagnitude(float x) {
  // Halfway points between neighbours; at a tie the index whose low bit (the fraction) is 0 wins.
  int index = 0;
  index += x > 0.25f;
  index += x >= 0.75f;
  index += x > 1.25f;
  index += x >= 1.75f;
  index += x > 2.5f;
  index += x >= 3.5f;
  index += x > 5.0f;
  return index;
}

uint8_t EncodeElement(float value, float inverse_scale) {
  return static_cast<uint8_t>(NearestMagnitude(std::fabs(value) * inverse_scale) |
                              (std::signbit(value) ? 8 : 0));
}

double WeightedError(const float* values, const float* weights, int exponent) {
  const float scale = std::ldexp(1.0f, exponent), inverse = std::ldexp(1.0f, -exponent);
  double sum = 0;
  for (int i = 0; i < kElements; ++i) {
    const double error = static_cast<double>(values[i]) - kE2M1[EncodeElement(values[i], inverse)] * scale;
    sum += weights[i] * error * error;
  }
  return sum;
}

}  // namespace

void DecodeBlock(const BlockMxfp4& block, float* out) {
  const float scale = E8M0ToF32(block.e);
  for (int i = 0; i < 16; ++i) {
    out[i] = kE2M1[block.qs[i] & 0xF] * scale;
    out[i + 16] = kE2M1[block.qs[i] >> 4] * scale;
  }
}

void DecodeMxfp4Split(const uint8_t nibbles[16], uint8_t e, float* out) {
  const float scale = E8M0ToF32(e);
  for (int i = 0; i < 16; ++i) {
    out[2 * i] = kE2M1[nibbles[i] & 0xF] * scale;
    out[2 * i + 1] = kE2M1[nibbles[i] >> 4] * scale;
  }
}

void EncodeBlock(const float* values, const float* weights, BlockMxfp4* block) {
  float largest = 0;
  for (int i = 0; i < kElements; ++i) largest = std::max(largest, std::fabs(values[i]));
  int best = kMinExponent;
  if (largest > 0) {
    // The scale that puts the largest value into E2M1's top octave [4, 8). It is exact for values on any
    // grid: a coarser grid's values below its own top octave are even multiples here. Its neighbours trade
    // clipping above 6 against the resolution of small values.
    const int top = std::ilogb(largest) - 2;
    double best_error = std::numeric_limits<double>::infinity();
    for (const int candidate : {top, top + 1, top - 1}) {
      const int exponent = std::clamp(candidate, kMinExponent, kMaxExponent);
      const double error = WeightedError(values, weights, exponent);
      if (error < best_error) {
        best_error = error;
        best = exponent;
      }
    }
  }
  block->e = static_cast<uint8_t>(best + 127);
  const float inverse = std::ldexp(1.0f, -best);
  for (int i = 0; i < 16; ++i) {
    block->qs[i] =
        static_cast<uint8_t>(EncodeElement(values[i], inverse) | EncodeElement(values[i + 16], inverse) << 4);
  }
}

}  // namespace deepshock
