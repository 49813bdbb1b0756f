// SPDX-License-Identifier: Apache-2.0
// The small floating-point formats, one number at a time; stored little-endian. Pure functions, any thread.
//
//   name     bits  sign.exponent.fraction  bias  largest       smallest  specials
//   F16       16   1.5.10                   15   65504         2^-24     infinities, NaN (IEEE 754 binary16)
//   BF16      16   1.8.7                   127   3.3895e38     2^-133    infinities, NaN (upper half of a
//   float32) F8 E4M3    8   1.4.3                     7   448           2^-9      no infinity; 0x7F and 0xFF
//   are NaN ("fn") F4 E2M1    4   1.2.1                     1   6             0.5       none E8M0       8
//   0.8.0                   127   2^127         2^-127    0xFF is NaN; no zero, no sign: a scale
//
// E4M3: "FP8 Formats for Deep Learning", arXiv 2209.05433, table 1. E2M1 and E8M0: OCP Microscaling Formats
// (MX) Specification v1.0, sections 5.3.3 and 5.4.1.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace deepshock {

static_assert(std::endian::native == std::endian::little,
              "stored formats are read in place: little-endian only");

inline float F16ToF32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 0x1F;
  const uint32_t fraction = h & 0x3FF;
  if (exponent == 0) {  // zero and subnormal: fraction * 2^-24, exact in float32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  return std::bit_cast<float>(sign | ((exponent + 127 - 15) << 23) | (fraction << 13));
}

// Round to nearest, ties to even; from 65520 on to infinity.
inline uint16_t F32ToF16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint32_t sign = (bits >> 16) & 0x8000;
  uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude >= 0x47800000) {  // 65536 and above, infinity, NaN
    return static_cast<uint16_t>(sign | (magnitude > 0x7F800000 ? 0x7E00 : 0x7C00));
  }
  if (magnitude < 0x38800000) {  // below 2^-14: floats in [0.5, 1) are 2^-24 apart, as F16 subnormals are
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000));
  }
  magnitude -= (127 - 15) << 23;
  magnitude += 0xFFF + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | (magnitude >> 13));
}

inline float BF16ToF32(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

// Round to nearest, ties to even; NaN stays NaN.
inline uint16_t F32ToBF16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float F8E4M3ToF32(uint8_t v) {
  const uint32_t sign = static_cast<uint32_t>(v & 0x80) << 24;
  const uint32_t exponent = (v >> 3) & 0xF;
  const uint32_t fraction = v & 0x7;
  if ((v & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-9f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 127 - 7) << 23) | (fraction << 20));
}

// The eight magnitudes of E2M1; bit 3 of the nibble is the sign.
inline constexpr float kE2M1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

inline float E8M0ToF32(uint8_t e) {
  if (e == 0xFF) return std::numeric_limits<float>::quiet_NaN();
  // 2^-127 is subnormal in float32.
  return e == 0 ? 0x1p-127f : std::bit_cast<float>(static_cast<uint32_t>(e) << 23);
}

}  // namespace deepshock
