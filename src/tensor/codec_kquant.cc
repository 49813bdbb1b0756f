// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec_kquant.h"

#include "tensor/codec_float.h"

namespace deepshock {
namespace {

constexpr int kElements = 256;

// Q4_K and Q5_K: bits 0..3 of element e.
int LowNibble(const uint8_t qs[128], int e) {
  const uint8_t byte = qs[e / 64 * 32 + e % 32];
  return e / 32 % 2 == 0 ? byte & 0xF : byte >> 4;
}

// Q2_K and Q3_K: bits 0..1 of element e. Q6_K: bits 4..5.
int TwoBits(const uint8_t qs[64], int e) { return (qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2)) & 3; }

}  // namespace

void DecodeBlock(const BlockQ2_K& block, float* out) {
  const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
  for (int e = 0; e < kElements; ++e) {
    const float scale = d * static_cast<float>(block.scales[e / 16] & 0xF);
    const float min = dmin * static_cast<float>(block.scales[e / 16] >> 4);
    out[e] = scale * static_cast<float>(TwoBits(block.qs, e)) - min;
  }
}

void DecodeBlock(const BlockQ3_K& block, float* out) {
  const float d = F16ToF32(block.d);
  for (int e = 0; e < kElements; ++e) {
    const int g = e / 16;
    const int low = g < 8 ? block.scales[g] & 0xF : block.scales[g - 8] >> 4;
    const int high = (block.scales[8 + g % 4] >> (2 * (g / 4))) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const int q = TwoBits(block.qs, e) | ((block.hmask[e % 32] >> (e / 32)) & 1) << 2;
    out[e] = scale * static_cast<float>(q - 4);
  }
}

void DecodeBlock(const BlockQ4_K& block, float* out) {
  const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
  for (int e = 0; e < kElements; ++e) {
    const ScaleMin s = UnpackScaleMin(block.scales, e / 32);
    out[e] = d * static_cast<float>(s.scale) * static_cast<float>(LowNibble(block.qs, e)) -
             dmin * static_cast<float>(s.min);
  }
}

void DecodeBlock(const BlockQ5_K& block, float* out) {
  const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
  for (int e = 0; e < kElements; ++e) {
    const ScaleMin s = UnpackScaleMin(block.scales, e / 32);
    const int q = LowNibble(block.qs, e) | ((block.qh[e % 32] >> (e / 32)) & 1) << 4;
    out[e] = d * static_cast<float>(s.scale) * static_cast<float>(q) - dmin * static_cast<float>(s.min);
  }
}

void DecodeBlock(const BlockQ6_K& block, float* out) {
  const float d = F16ToF32(block.d);
  for (int e = 0; e < kElements; ++e) {
    const int j = e % 128 / 32;
    const uint8_t byte = block.ql[e / 128 * 64 + j % 2 * 32 + e % 32];
    const int q = (j < 2 ? byte & 0xF : byte >> 4) | TwoBits(block.qh, e) << 4;
    out[e] = d * static_cast<float>(block.scales[e / 16]) * static_cast<float>(q - 32);
  }
}

}  // namespace deepshock
