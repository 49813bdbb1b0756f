// SPDX-License-Identifier: Apache-2.0
// NEON of AArch64 under the names that simd/*_inl.h use. Internal linkage: see kernels/isa.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#define DS_INLINE inline __attribute__((always_inline))

namespace deepshock {
namespace {

using F = float32x4_t;
constexpr int kLanes = 4;
// 4 rows x 6 tokens of sums, 6 of activations and 1 of weights: 31 of 32 registers.
constexpr int kTileTokens = 6;

DS_INLINE F Set1(float v) { return vdupq_n_f32(v); }
DS_INLINE F Load(const float* p) { return vld1q_f32(p); }
DS_INLINE void Store(float* p, F v) { vst1q_f32(p, v); }
// The first n < kLanes lanes; the others load as zero.
DS_INLINE F LoadPart(const float* p, int64_t n) {
  F v = vdupq_n_f32(0);
  if (n > 0) v = vld1q_lane_f32(p, v, 0);
  if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2) v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
DS_INLINE void StorePart(float* p, F v, int64_t n) {
  if (n > 0) vst1q_lane_f32(p, v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}

// Loaded once: compilers would rather load again for every use, where loads are what limits.
DS_INLINE F InRegister(F v) {
  asm("" : "+w"(v));
  return v;
}
DS_INLINE F Add(F a, F b) { return vaddq_f32(a, b); }
DS_INLINE F Sub(F a, F b) { return vsubq_f32(a, b); }
DS_INLINE F Mul(F a, F b) { return vmulq_f32(a, b); }
DS_INLINE F Div(F a, F b) { return vdivq_f32(a, b); }
DS_INLINE F Fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
// The second operand where one is NaN, as on x86; vmaxq_f32 would give the NaN.
DS_INLINE F Max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
DS_INLINE F Min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
DS_INLINE F Round(F v) { return vrndnq_f32(v); }
// v 2^n for integral |n| <= 250: in two steps, so that subnormal results come out right.
DS_INLINE F TimesPowerOf2(F v, F n) {
  const int32x4_t all = vcvtq_s32_f32(n), half = vshrq_n_s32(all, 1), bias = vdupq_n_s32(127);
  const F first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const F second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(all, half), bias), 23));
  return vmulq_f32(vmulq_f32(v, first), second);
}

// One order of additions for every sum of lanes: (0 + 2) + (1 + 3).
DS_INLINE float ReduceSum(F v) {
  const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
DS_INLINE void ReduceSums(F a, F b, F c, F d, float* sums) {
  sums[0] = ReduceSum(a);
  sums[1] = ReduceSum(b);
  sums[2] = ReduceSum(c);
  sums[3] = ReduceSum(d);
}
DS_INLINE float ReduceMax(F v) {
  const F two = Max(v, vextq_f32(v, v, 2));
  return vgetq_lane_f32(Max(two, vextq_f32(two, two, 1)), 0);
}
DS_INLINE float SquareRoot(float v) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(v)), 0); }

using Bytes = uint8x16_t;

DS_INLINE Bytes Load16(const uint8_t* p) { return vld1q_u8(p); }
DS_INLINE Bytes EveryByte(int8_t v) { return vreinterpretq_u8_s8(vdupq_n_s8(v)); }
DS_INLINE Bytes OrBytes(Bytes a, Bytes b) { return vorrq_u8(a, b); }
DS_INLINE Bytes SubBytes(Bytes a, Bytes b) { return vsubq_u8(a, b); }
DS_INLINE Bytes LowNibbles(Bytes q) { return vandq_u8(q, vdupq_n_u8(0xF)); }
DS_INLINE Bytes HighNibbles(Bytes q) { return vshrq_n_u8(q, 4); }
// For bytes below 16.
DS_INLINE Bytes ShiftBytesLeft4(Bytes q) { return vshlq_n_u8(q, 4); }
DS_INLINE Bytes LookupBytes(const int8_t table[16], Bytes nibbles) {
  return vreinterpretq_u8_s8(vqtbl1q_s8(vld1q_s8(table), nibbles));
}
// a0 b0 a1 b1 ... of the lower and of the upper eight bytes.
DS_INLINE Bytes ZipLow(Bytes a, Bytes b) { return vzip1q_u8(a, b); }
DS_INLINE Bytes ZipHigh(Bytes a, Bytes b) { return vzip2q_u8(a, b); }
// Byte i: `value` where bit i of the mask is set, otherwise 0.
DS_INLINE Bytes WhereBit(uint32_t mask16, int8_t value) {
  const Bytes bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const Bytes spread =
      vcombine_u8(vdup_n_u8(static_cast<uint8_t>(mask16)), vdup_n_u8(static_cast<uint8_t>(mask16 >> 8)));
  return vandq_u8(vtstq_u8(spread, bit), EveryByte(value));
}
// Bits 2j, 2j+1 of each byte: one quarter of a K-quant's half of 128.
DS_INLINE Bytes TwoBits(Bytes q, int j) {
  return vandq_u8(vshlq_u8(q, vdupq_n_s8(static_cast<int8_t>(-2 * j))), vdupq_n_u8(3));
}
// `value` where the bit of the byte is set, otherwise 0.
DS_INLINE Bytes WhereBitOfByte(Bytes bytes, int bit, int8_t value) {
  return vandq_u8(vtstq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(1 << bit))), EveryByte(value));
}

DS_INLINE F FloatsOfF16(uint16x4_t half) { return vcvt_f32_f16(vreinterpret_f16_u16(half)); }
DS_INLINE float FloatOfF16(uint16_t half) { return vgetq_lane_f32(FloatsOfF16(vdup_n_u16(half)), 0); }

// Sixteen consecutive elements of a row.
struct Sixteen {
  F v[4];
};
DS_INLINE Sixteen FromInt8(Bytes q) {
  const int8x16_t s = vreinterpretq_s8_u8(q);
  const int16x8_t low = vmovl_s8(vget_low_s8(s)), high = vmovl_s8(vget_high_s8(s));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
DS_INLINE Sixteen FromF16(uint16x8_t low, uint16x8_t high) {
  return {{FloatsOfF16(vget_low_u16(low)), FloatsOfF16(vget_high_u16(low)), FloatsOfF16(vget_low_u16(high)),
           FloatsOfF16(vget_high_u16(high))}};
}
// Rows may begin at any byte.
DS_INLINE uint16x8_t LoadWords(const uint8_t* p) { return vreinterpretq_u16_u8(vld1q_u8(p)); }
DS_INLINE Sixteen FromF16(const uint8_t* p) { return FromF16(LoadWords(p), LoadWords(p + 16)); }
DS_INLINE F WidenBF16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
DS_INLINE Sixteen FromBF16(const uint8_t* p) {
  const uint16x8_t low = LoadWords(p), high = LoadWords(p + 16);
  return {{WidenBF16(vget_low_u16(low)), WidenBF16(vget_high_u16(low)), WidenBF16(vget_low_u16(high)),
           WidenBF16(vget_high_u16(high))}};
}
// E4M3's sign, exponent and fraction in their places of an F16; NaN stays NaN.
DS_INLINE uint16x8_t F16OfE4M3(uint8x8_t bytes) {
  const uint16x8_t v = vmovl_u8(bytes), magnitude = vandq_u16(v, vdupq_n_u16(0x7F));
  const uint16x8_t sign = vshlq_n_u16(vandq_u16(v, vdupq_n_u16(0x80)), 8);
  const uint16x8_t nan = vceqq_u16(magnitude, vdupq_n_u16(0x7F));  // all ones is an F16 NaN
  return vorrq_u16(vorrq_u16(sign, vshlq_n_u16(magnitude, 7)), nan);
}
DS_INLINE Sixteen FromE4M3AsF16(Bytes bytes) {
  return FromF16(F16OfE4M3(vget_low_u8(bytes)), F16OfE4M3(vget_high_u8(bytes)));
}

}  // namespace
}  // namespace deepshock
