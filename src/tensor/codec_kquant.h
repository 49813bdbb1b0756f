// SPDX-License-Identifier: Apache-2.0
// GGUF's K-quants: super-blocks of 256 elements, cut into groups whose small integer scales share one or two
// F16 scales. All little-endian, no padding. Facts: ggml/src/ggml-common.h of
// https://github.com/ggml-org/ggml. Element e = 128 h + 32 j + l with h in 0..1, j in 0..3, l in 0..31. Pure
// functions, any thread. Blocks in a file may be unaligned: copy them out with memcpy.
#pragma once

#include <cstdint>

namespace deepshock {

// 2.625 bits an element, groups of 16.
// value = d * scale * q - dmin * min, q in 0..3, scale and min in 0..15.
struct BlockQ2_K {
  static constexpr int kElements = 256;
  uint8_t scales[16];  // group e / 16: low nibble scale, high nibble min
  uint8_t qs[64];      // bits 2j, 2j+1 of byte 32 h + l
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// 3.4375 bits an element, groups of 16.
// value = d * (scale - 32) * (q - 4), q in 0..7, scale in 0..63.
struct BlockQ3_K {
  static constexpr int kElements = 256;
  uint8_t hmask[32];   // bit 4 h + j of byte l: bit 2 of q
  uint8_t qs[64];      // bits 0..1 of q, as in Q2_K
  uint8_t scales[12];  // group g: bits 0..3 in nibble g / 8 of byte g % 8, bits 4..5 at bit 2 (g / 4) of byte
                       // 8 + g % 4
  uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// 4.5 bits an element, groups of 32.
// value = d * scale * q - dmin * min, q in 0..15, scale and min in 0..63.
struct BlockQ4_K {
  static constexpr int kElements = 256;
  uint16_t d;
  uint16_t dmin;
  // Groups 0..3: scale in bits 0..5 of byte g, min in bits 0..5 of byte g + 4. Groups 4..7: bits 0..3 of the
  // scale and of the min are the low and the high nibble of byte g + 4; their bits 4..5 are bits 6..7 of
  // bytes g - 4 and g.
  uint8_t scales[12];
  uint8_t qs[128];  // byte 32 (e / 64) + l: low nibble for even groups (e / 32), high nibble for odd ones
};
static_assert(sizeof(BlockQ4_K) == 144);

// 5.5 bits an element, groups of 32.
// value = d * scale * q - dmin * min, q in 0..31, scale and min in 0..63.
struct BlockQ5_K {
  static constexpr int kElements = 256;
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];  // as in Q4_K
  uint8_t qh[32];      // bit e / 32 of byte l: bit 4 of q
  uint8_t qs[128];     // bits 0..3 of q, as in Q4_K
};
static_assert(sizeof(BlockQ5_K) == 176);

// 6.5625 bits an element, groups of 16.
// value = d * scale * (q - 32), q in 0..63, scale in -128..127.
struct BlockQ6_K {
  static constexpr int kElements = 256;
  uint8_t ql[128];    // bits 0..3 of q: nibble j / 2 of byte 64 h + 32 (j % 2) + l
  uint8_t qh[64];     // bits 4..5 of q: bits 2j, 2j+1 of byte 32 h + l
  int8_t scales[16];  // group e / 16
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// out[0 .. 256)
void DecodeBlock(const BlockQ2_K& block, float* out);
void DecodeBlock(const BlockQ3_K& block, float* out);
void DecodeBlock(const BlockQ4_K& block, float* out);
void DecodeBlock(const BlockQ5_K& block, float* out);
void DecodeBlock(const BlockQ6_K& block, float* out);

// The scale and the min of group g of Q4_K and Q5_K.
struct ScaleMin {
  uint8_t scale;
  uint8_t min;
};
inline ScaleMin UnpackScaleMin(const uint8_t scales[12], int g) {
  if (g < 4) return {static_cast<uint8_t>(scales[g] & 63), static_cast<uint8_t>(scales[g + 4] & 63)};
  return {static_cast<uint8_t>((scales[g + 4] & 0xF) | (scales[g - 4] >> 6 << 4)),
          static_cast<uint8_t>((scales[g + 4] >> 4) | (scales[g] >> 6 << 4))};
}

// values and weights (of the squared error) [256]; |values| at most 65504. In codec_kquant_encode.cc.
void EncodeBlock(const float* values, const float* weights, BlockQ4_K* block);
void EncodeBlock(const float* values, const float* weights, BlockQ6_K* block);

}  // namespace deepshock
