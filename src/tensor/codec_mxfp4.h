// SPDX-License-Identifier: Apache-2.0
// MXFP4 (OCP Microscaling Formats Specification v1.0, section 5): 32 elements of E2M1 share one E8M0 scale.
// 4.25 bits an element; value = e2m1 * 2^(e - 127); range of a block: +-6 * 2^(e - 127); e = 255 makes it all
// NaN. Pure functions, any thread.
#pragma once

#include <cstdint>

namespace deepshock {

// As GGUF stores it. (ggml describes the same values as twice-E2M1 integers times half the scale.)
struct BlockMxfp4 {
  static constexpr int kElements = 32;
  uint8_t e;       // E8M0
  uint8_t qs[16];  // low nibble: element i; high nibble: element i + 16
};
static_assert(sizeof(BlockMxfp4) == 17);

// out[0 .. 32)
void DecodeBlock(const BlockMxfp4& block, float* out);

// As gpt-oss checkpoints store it: the scale byte in a tensor of its own ("_scales"), 16 bytes of nibbles in
// "_blocks"; low nibble: element 2i, high nibble: element 2i + 1. out[0 .. 32)
void DecodeMxfp4Split(const uint8_t nibbles[16], uint8_t e, float* out);

// values and weights (of the squared error) [32]. Exact, signs of zero included, where every value is one
// that some scale can express.
void EncodeBlock(const float* values, const float* weights, BlockMxfp4* block);

}  // namespace deepshock
