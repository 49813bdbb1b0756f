// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec_legacy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/codec_float.h"
#include "tensor/scale_search.h"

namespace deepshock {
namespace {

constexpr int kElements = 32;

int Nibble(const uint8_t* qs, int i) { return i < 16 ? qs[i] & 0xF : qs[i - 16] >> 4; }
int HighBit(const uint8_t* qh, int i) { return (qh[i / 8] >> (i % 8)) & 1; }

}  // namespace

void DecodeBlock(const BlockQ4_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (int i = 0; i < kElements; ++i) out[i] = d * static_cast<float>(Nibble(block.qs, i) - 8);
}

void DecodeBlock(const BlockQ4_1& block, float* out) {
  const float d = F16ToF32(block.d), m = F16ToF32(block.m);
  for (int i = 0; i < kElements; ++i) out[i] = d * static_cast<float>(Nibble(block.qs, i)) + m;
}

void DecodeBlock(const BlockQ5_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (int i = 0; i < kElements; ++i) {
    const int q = Nibble(block.qs, i) | HighBit(block.qh, i) << 4;
    out[i] = d * static_cast<float>(q - 16);
  }
}

void DecodeBlock(const BlockQ5_1& block, float* out) {
  const float d = F16ToF32(block.d), m = F16ToF32(block.m);
  for (int i = 0; i < kElements; ++i) {
    const int q = Nibble(block.qs, i) | HighBit(block.qh, i) << 4;
    out[i] = d * static_cast<float>(q) + m;
  }
}

void DecodeBlock(const BlockQ8_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (int i = 0; i < kElements; ++i) out[i] = d * static_cast<float>(block.qs[i]);
}

void EncodeBlock(const float* values, const float* weights, BlockQ4_0* block) {
  block->d = RoundScaleToF16(FindScale(values, weights, kElements, -8, 7));
  const float inverse = InverseOrZero(F16ToF32(block->d));
  int q[kElements];
  for (int i = 0; i < kElements; ++i) q[i] = static_cast<int>(RoundClamped(values[i] * inverse, -8, 7)) + 8;
  for (int i = 0; i < 16; ++i) block->qs[i] = static_cast<uint8_t>(q[i] | q[i + 16] << 4);
}

void EncodeBlock(const float* values, const float* /*weights*/, BlockQ8_0* block) {
  float largest = 0;
  for (int i = 0; i < kElements; ++i) largest = std::max(largest, std::fabs(values[i]));
  block->d = RoundScaleToF16(largest / 127);
  // By the scale as it is stored, so that its rounding is not added to the elements' own.
  const float inverse = InverseOrZero(F16ToF32(block->d));
  for (int i = 0; i < kElements; ++i) {
    block->qs[i] = static_cast<int8_t>(RoundClamped(values[i] * inverse, -128, 127));
  }
}

}  // namespace deepshock
