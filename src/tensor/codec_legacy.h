// SPDX-License-Identifier: Apache-2.0
// GGUF's 32-element blocks with one scale each: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Elements are numbered 0..31; d
// and m are F16; all little-endian, no padding. Facts: ggml/src/ggml-common.h of
// https://github.com/ggml-org/ggml. Pure functions, any thread. Blocks in a file may be unaligned: copy them
// out with memcpy.
#pragma once

#include <cstdint>

namespace deepshock {

// 4.5 bits an element. value = d * (q - 8), q in 0..15: range -8d..7d.
struct BlockQ4_0 {
  static constexpr int kElements = 32;
  uint16_t d;
  uint8_t qs[16];  // low nibble: element i; high nibble: element i + 16
};
static_assert(sizeof(BlockQ4_0) == 18);

// 5 bits an element. value = d * q + m, q in 0..15.
struct BlockQ4_1 {
  static constexpr int kElements = 32;
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];  // as in Q4_0
};
static_assert(sizeof(BlockQ4_1) == 20);

// 5.5 bits an element. value = d * (q - 16), q in 0..31: range -16d..15d.
struct BlockQ5_0 {
  static constexpr int kElements = 32;
  uint16_t d;
  uint8_t qh[4];   // bit i % 8 of byte i / 8: bit 4 of element i
  uint8_t qs[16];  // bits 0..3, as in Q4_0
};
static_assert(sizeof(BlockQ5_0) == 22);

// 6 bits an element. value = d * q + m, q in 0..31.
struct BlockQ5_1 {
  static constexpr int kElements = 32;
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];   // as in Q5_0
  uint8_t qs[16];  // as in Q4_0
};
static_assert(sizeof(BlockQ5_1) == 24);

// 8.5 bits an element. value = d * q, q in -128..127.
struct BlockQ8_0 {
  static constexpr int kElements = 32;
  uint16_t d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// out[0 .. 32)
void DecodeBlock(const BlockQ4_0& block, float* out);
void DecodeBlock(const BlockQ4_1& block, float* out);
void DecodeBlock(const BlockQ5_0& block, float* out);
void DecodeBlock(const BlockQ5_1& block, float* out);
void DecodeBlock(const BlockQ8_0& block, float* out);

// values and weights (of the squared error) [32]; |values| at most 65504.
void EncodeBlock(const float* values, const float* weights, BlockQ4_0* block);
// Each element is rounded on its own, so weights cannot matter once the largest one has fixed the scale.
void EncodeBlock(const float* values, const float* weights, BlockQ8_0* block);

}  // namespace deepshock
