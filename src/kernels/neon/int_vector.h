// SPDX-License-Identifier: Apache-2.0
// NEON integers with the dot product (FEAT_DotProd) under the names that simd/interleaved*_inl.h use.
// Internal linkage: see kernels/isa.h.
#pragma once

#include "kernels/neon/vector.h"

namespace deepshock {
namespace {

using I = int32x4_t;
// 8 sums, 8 codes, 4 running products, an activation each and their scales: below 32 registers.
constexpr int kMaxTileRows = 8;
constexpr int kTileParts = 1;
constexpr int kUnrolledRows = 0;  // shifts by any number of bits are one instruction
// sdot multiplies signed bytes: 8-bit codes as they are, and codes below 128 are the same signed.
constexpr int kSignedOffsetBits = -1;

DS_INLINE I SplatI(int32_t v) { return vdupq_n_s32(v); }
DS_INLINE I SplatBytes(uint8_t v) { return vreinterpretq_s32_u8(vdupq_n_u8(v)); }
DS_INLINE I LoadI(const void* p) { return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p))); }
DS_INLINE I LoadBytes(const void* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words)));
}
DS_INLINE F LoadF16(const void* p) {
  return FloatsOfF16(vreinterpret_u16_u8(vld1_u8(static_cast<const uint8_t*>(p))));
}
DS_INLINE I And(I a, I b) { return vandq_s32(a, b); }
DS_INLINE I Or(I a, I b) { return vorrq_s32(a, b); }
DS_INLINE I SubBytes(I a, I b) {
  return vreinterpretq_s32_u8(vsubq_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b)));
}
template <int kBits>
DS_INLINE I ShiftLeft(I v) {
  return vshlq_n_s32(v, kBits);
}
template <int kBits>
DS_INLINE I ShiftRight(I v) {
  return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), kBits));
}
template <int kBits>
DS_INLINE I ShiftRightSigned(I v) {
  return vshrq_n_s32(v, kBits);
}
DS_INLINE I ShiftRight(I v, int64_t bits) {
  return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(static_cast<int32_t>(-bits))));
}
DS_INLINE I Lookup(const uint8_t table[16], I nibbles) {
  return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(nibbles)));
}
DS_INLINE I SignedCodes(I v) { return v; }
// sum + the four products of each lane's codes (below 128) with the signed bytes.
DS_INLINE I Dot4(I sum, I codes, I bytes) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(bytes));
}
// With the four bytes at `word` for all lanes.
DS_INLINE I Dot4Word(I sum, I codes, const int8_t* word) {
  int32_t bytes;
  __builtin_memcpy(&bytes, word, sizeof(bytes));
  return Dot4(sum, codes, SplatI(bytes));
}
template <int kBits>
DS_INLINE I SplatShiftedLeft(const int32_t* p) {
  return ShiftLeft<kBits>(SplatI(*p));
}
DS_INLINE I DotSigned4(I sum, I codes, I bytes) { return Dot4(sum, codes, bytes); }
// Products are added in 32 bits at once: the three below are never called.
constexpr int kMostPairedCodes = 0;
DS_INLINE I DotPairs(I codes, I) { return codes; }
DS_INLINE I AddPairs(I a, I) { return a; }
DS_INLINE I AddWidened(I sum, I) { return sum; }
DS_INLINE I MaxI(I a, I b) { return vmaxq_s32(a, b); }
DS_INLINE int32_t LargestLane(I v) { return vmaxvq_s32(v); }
DS_INLINE int32_t SumLanes(I v) { return vaddvq_s32(v); }
DS_INLINE I BitsOf(F v) { return vreinterpretq_s32_f32(v); }
DS_INLINE F Negated(F v) { return vnegq_f32(v); }
DS_INLINE F ToF(I v) { return vcvtq_f32_s32(v); }
// A NaN becomes 0 (the least integer on x86); the scale of its block is no number either way.
DS_INLINE I RoundToI(F v) { return vcvtnq_s32_f32(v); }
DS_INLINE void StoreAsBytes(int8_t* p, I v) {
  const int16x4_t words = vqmovn_s32(v);
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  const uint32_t four = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
  __builtin_memcpy(p, &four, sizeof(four));
}
// The lower and the upper F16 of each lane.
DS_INLINE F LowF16(I v) { return FloatsOfF16(vmovn_u32(vreinterpretq_u32_s32(v))); }
DS_INLINE F HighF16(I v) { return FloatsOfF16(vshrn_n_u32(vreinterpretq_u32_s32(v), 16)); }
// 2^(e - 128) of an E8M0 exponent; NaN for 255.
DS_INLINE F HalfE8M0(I e) {
  // Below 2 the result is a denormal: 2^-128 and 2^-127.
  const I normal = vshlq_n_s32(vsubq_s32(e, SplatI(1)), 23);
  const I denormal = vshlq_s32(SplatI(0x00200000), e);
  I bits = vbslq_s32(vcltq_s32(e, SplatI(2)), denormal, normal);
  bits = vbslq_s32(vceqq_s32(e, SplatI(255)), SplatI(0x7FC00000), bits);
  return vreinterpretq_f32_s32(bits);
}

}  // namespace
}  // namespace deepshock
