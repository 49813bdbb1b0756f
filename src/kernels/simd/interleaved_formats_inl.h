// SPDX-License-Identifier: Apache-2.0
// How the integer kernel reads each interleaved format (tensor/interleaved.h). A format tells
//   kBlockBytes, kBlockCols   of the stored block; a record is 16 blocks
//   kScaleCols                columns that share a scale: 32 or 16
//   kOffsetBits               codes are value + 2^kOffsetBits; -1: none
//   kHasMin                   value = scale * code - min
//   kLargestCode              no code is larger
//   kSignedCodes              codes are signed bytes (of the 8-bit type, where the machine multiplies them
//                             so)
//   Scales                    of one record, unpacked once for all rows of activations
//   Codes                     eight vectors: lane = row, byte k of vector j = the code of column 4 j + k
// for the lanes [lane, lane + kLanes) of the 16 rows. Included by each instruction set's room after its
// int_vector.h. Everything has internal linkage: see kernels/isa.h.
#pragma once

#include <cstdint>

namespace deepshock {
namespace {

// Word u (for this part's lanes) of a record's field that begins at byte `field` of the block. 64-bit
// numbers: compilers fold constants into addresses only where nothing could wrap.
DS_INLINE I Word(const uint8_t* record, int field, int64_t u, int lane) {
  return LoadI(record + 16 * field + (16 * u + lane) * 4);
}
DS_INLINE F HalfScale(const uint8_t* record, int field, int lane) {
  return LoadF16(record + 16 * field + lane * 2);
}

// One scale for 32 columns, and perhaps a minimum.
struct OneScale {
  F scale[1];
  F min[1];
};

DS_INLINE void NibbleCodes(const uint8_t* record, int field, int lane, I codes[8]) {
  const I mask = SplatBytes(0x0F);
  for (int j = 0; j < 4; ++j) {
    const I word = Word(record, field, j, lane);
    codes[j] = And(word, mask);
    codes[4 + j] = And(ShiftRight<4>(word), mask);
  }
}
// Bit 8 k + j of the word is bit 4 of column 4 j + k.
DS_INLINE void AddHighBits(const uint8_t* record, int field, int lane, I codes[8]) {
  const I word = Word(record, field, 0, lane), mask = SplatBytes(0x10);
  codes[0] = Or(codes[0], And(ShiftLeft<4>(word), mask));
  codes[1] = Or(codes[1], And(ShiftLeft<3>(word), mask));
  codes[2] = Or(codes[2], And(ShiftLeft<2>(word), mask));
  codes[3] = Or(codes[3], And(ShiftLeft<1>(word), mask));
  codes[4] = Or(codes[4], And(word, mask));
  codes[5] = Or(codes[5], And(ShiftRight<1>(word), mask));
  codes[6] = Or(codes[6], And(ShiftRight<2>(word), mask));
  codes[7] = Or(codes[7], And(ShiftRight<3>(word), mask));
}

struct FormatQ4_0 {
  static constexpr int kBlockBytes = 18, kBlockCols = 32, kScaleCols = 32, kOffsetBits = 3;
  static constexpr int kLargestCode = 15;
  static constexpr bool kHasMin = false, kSignedCodes = false;
  using Scales = OneScale;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    s->scale[0] = HalfScale(r, 0, lane);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    NibbleCodes(r, 2, lane, codes);
  }
};

struct FormatQ4_1 {
  static constexpr int kBlockBytes = 20, kBlockCols = 32, kScaleCols = 32, kOffsetBits = -1;
  static constexpr int kLargestCode = 15;
  static constexpr bool kHasMin = true, kSignedCodes = false;
  using Scales = OneScale;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    const I both = Word(r, 0, 0, lane);
    s->scale[0] = LowF16(both);
    s->min[0] = Negated(HighF16(both));
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    NibbleCodes(r, 4, lane, codes);
  }
};

struct FormatQ5_0 {
  static constexpr int kBlockBytes = 22, kBlockCols = 32, kScaleCols = 32, kOffsetBits = 4;
  static constexpr int kLargestCode = 31;
  static constexpr bool kHasMin = false, kSignedCodes = false;
  using Scales = OneScale;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    s->scale[0] = HalfScale(r, 0, lane);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    NibbleCodes(r, 6, lane, codes);
    AddHighBits(r, 2, lane, codes);
  }
};

struct FormatQ5_1 {
  static constexpr int kBlockBytes = 24, kBlockCols = 32, kScaleCols = 32, kOffsetBits = -1;
  static constexpr int kLargestCode = 31;
  static constexpr bool kHasMin = true, kSignedCodes = false;
  using Scales = OneScale;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    FormatQ4_1::LoadScales(r, lane, s);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    NibbleCodes(r, 8, lane, codes);
    AddHighBits(r, 4, lane, codes);
  }
};

struct FormatQ8_0 {
  static constexpr int kBlockBytes = 34, kBlockCols = 32, kScaleCols = 32, kOffsetBits = kSignedOffsetBits;
  static constexpr int kLargestCode = 255;
  static constexpr bool kHasMin = false, kSignedCodes = kSignedOffsetBits < 0;
  using Scales = OneScale;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    s->scale[0] = HalfScale(r, 0, lane);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    for (int j = 0; j < 8; ++j) codes[j] = SignedCodes(Word(r, 2, j, lane));
  }
};

struct FormatMxfp4 {
  static constexpr int kBlockBytes = 17, kBlockCols = 32, kScaleCols = 32, kOffsetBits = 4;
  static constexpr int kLargestCode = 28;
  static constexpr bool kHasMin = false, kSignedCodes = false;
  using Scales = OneScale;
  // Codes are twice the value, so the scale is 2^(e - 128); a NaN for e = 255.
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    s->scale[0] = HalfE8M0(LoadBytes(r + lane));
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t, int lane, I codes[8]) {
    // 16 + 2 * {0, .5, 1, 1.5, 2, 3, 4, 6} and 16 - the same
    static constexpr uint8_t kTable[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};
    NibbleCodes(r, 1, lane, codes);
    for (int j = 0; j < 8; ++j) codes[j] = Lookup(kTable, codes[j]);
  }
};

// K-quants: `sub` counts the 32-column pieces of the 256.
template <int kGroups>
struct ManyScales {
  F scale[kGroups];
  F min[kGroups];
};

// The four bytes of each lane times `factor`.
DS_INLINE void ScaleBytes(I bytes, F factor, F out[4]) {
  const I mask = SplatI(0xFF);
  out[0] = Mul(ToF(And(bytes, mask)), factor);
  out[1] = Mul(ToF(And(ShiftRight<8>(bytes), mask)), factor);
  out[2] = Mul(ToF(And(ShiftRight<16>(bytes), mask)), factor);
  out[3] = Mul(ToF(ShiftRight<24>(bytes)), factor);
}
// The same of signed bytes.
DS_INLINE void ScaleSignedBytes(I bytes, F factor, F out[4]) {
  out[0] = Mul(ToF(ShiftRightSigned<24>(ShiftLeft<24>(bytes))), factor);
  out[1] = Mul(ToF(ShiftRightSigned<24>(ShiftLeft<16>(bytes))), factor);
  out[2] = Mul(ToF(ShiftRightSigned<24>(ShiftLeft<8>(bytes))), factor);
  out[3] = Mul(ToF(ShiftRightSigned<24>(bytes)), factor);
}

// d, dmin and 8 scales and minima of 6 bits: the head of Q4_K and Q5_K (tensor/codec_kquant.h).
DS_INLINE void LoadScalesMins(const uint8_t* r, int lane, ManyScales<8>* s) {
  const I both = Word(r, 0, 0, lane);
  const F d = LowF16(both), dmin = HighF16(both);
  const I w0 = Word(r, 4, 0, lane), w1 = Word(r, 4, 1, lane), w2 = Word(r, 4, 2, lane);
  const I low6 = SplatBytes(0x3F), low4 = SplatBytes(0x0F), high2 = SplatBytes(0x30);
  ScaleBytes(And(w0, low6), d, s->scale);
  ScaleBytes(Or(And(w2, low4), And(ShiftRight<2>(w0), high2)), d, s->scale + 4);
  ScaleBytes(And(w1, low6), dmin, s->min);
  ScaleBytes(Or(And(ShiftRight<4>(w2), low4), And(ShiftRight<2>(w1), high2)), dmin, s->min + 4);
}

struct FormatQ4_K {
  static constexpr int kBlockBytes = 144, kBlockCols = 256, kScaleCols = 32, kOffsetBits = -1;
  static constexpr int kLargestCode = 15;
  static constexpr bool kHasMin = true, kSignedCodes = false;
  using Scales = ManyScales<8>;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) { LoadScalesMins(r, lane, s); }
  static DS_INLINE void Codes(const uint8_t* r, int64_t sub, int lane, I codes[8]) {
    const I mask = SplatBytes(0x0F);
    for (int j = 0; j < 8; ++j) {
      codes[j] = And(ShiftRight(Word(r, 16, sub / 2 * 8 + j, lane), sub % 2 * 4), mask);
    }
  }
};

struct FormatQ5_K {
  static constexpr int kBlockBytes = 176, kBlockCols = 256, kScaleCols = 32, kOffsetBits = -1;
  static constexpr int kLargestCode = 31;
  static constexpr bool kHasMin = true, kSignedCodes = false;
  using Scales = ManyScales<8>;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) { LoadScalesMins(r, lane, s); }
  static DS_INLINE void Codes(const uint8_t* r, int64_t sub, int lane, I codes[8]) {
    const I mask = SplatBytes(0x0F), one = SplatBytes(0x01);
    for (int j = 0; j < 8; ++j) {
      const I low = And(ShiftRight(Word(r, 48, sub / 2 * 8 + j, lane), sub % 2 * 4), mask);
      const I high = And(ShiftRight(Word(r, 16, j, lane), sub), one);
      codes[j] = Or(low, ShiftLeft<4>(high));
    }
  }
};

struct FormatQ6_K {
  static constexpr int kBlockBytes = 210, kBlockCols = 256, kScaleCols = 16, kOffsetBits = 5;
  static constexpr int kLargestCode = 63;
  static constexpr bool kHasMin = false, kSignedCodes = false;
  using Scales = ManyScales<16>;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    const F d = HalfScale(r, 208, lane);
    for (int j = 0; j < 4; ++j) ScaleSignedBytes(Word(r, 192, j, lane), d, s->scale + 4 * j);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t sub, int lane, I codes[8]) {
    const I mask = SplatBytes(0x0F), two = SplatBytes(0x03);
    const int64_t half = sub / 4, quarter = sub % 4;
    for (int j = 0; j < 8; ++j) {
      const I low = And(ShiftRight(Word(r, 0, half * 16 + quarter % 2 * 8 + j, lane), quarter / 2 * 4), mask);
      const I high = And(ShiftRight(Word(r, 128, half * 8 + j, lane), quarter * 2), two);
      codes[j] = Or(low, ShiftLeft<4>(high));
    }
  }
};

struct FormatQ3_K {
  static constexpr int kBlockBytes = 110, kBlockCols = 256, kScaleCols = 16, kOffsetBits = 2;
  static constexpr int kLargestCode = 7;
  static constexpr bool kHasMin = false, kSignedCodes = false;
  using Scales = ManyScales<16>;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    const F d = HalfScale(r, 108, lane);
    const I low4 = SplatBytes(0x0F), two = SplatBytes(0x03), bias = SplatBytes(32);
    const I w0 = Word(r, 96, 0, lane), w1 = Word(r, 96, 1, lane), w2 = Word(r, 96, 2, lane);
    const I scales[4] = {
        Or(And(w0, low4), ShiftLeft<4>(And(w2, two))),
        Or(And(w1, low4), ShiftLeft<4>(And(ShiftRight<2>(w2), two))),
        Or(And(ShiftRight<4>(w0), low4), ShiftLeft<4>(And(ShiftRight<4>(w2), two))),
        Or(And(ShiftRight<4>(w1), low4), ShiftLeft<4>(And(ShiftRight<6>(w2), two))),
    };
    for (int j = 0; j < 4; ++j) ScaleSignedBytes(SubBytes(scales[j], bias), d, s->scale + 4 * j);
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t sub, int lane, I codes[8]) {
    const I two = SplatBytes(0x03), one = SplatBytes(0x01);
    for (int j = 0; j < 8; ++j) {
      const I low = And(ShiftRight(Word(r, 32, sub / 4 * 8 + j, lane), sub % 4 * 2), two);
      const I high = And(ShiftRight(Word(r, 0, j, lane), sub), one);
      codes[j] = Or(low, ShiftLeft<2>(high));
    }
  }
};

struct FormatQ2_K {
  static constexpr int kBlockBytes = 84, kBlockCols = 256, kScaleCols = 16, kOffsetBits = -1;
  static constexpr int kLargestCode = 3;
  static constexpr bool kHasMin = true, kSignedCodes = false;
  using Scales = ManyScales<16>;
  static DS_INLINE void LoadScales(const uint8_t* r, int lane, Scales* s) {
    const I both = Word(r, 80, 0, lane), low4 = SplatBytes(0x0F);
    const F d = LowF16(both), dmin = HighF16(both);
    for (int j = 0; j < 4; ++j) {
      const I word = Word(r, 0, j, lane);
      ScaleBytes(And(word, low4), d, s->scale + 4 * j);
      ScaleBytes(And(ShiftRight<4>(word), low4), dmin, s->min + 4 * j);
    }
  }
  static DS_INLINE void Codes(const uint8_t* r, int64_t sub, int lane, I codes[8]) {
    const I two = SplatBytes(0x03);
    for (int j = 0; j < 8; ++j) {
      codes[j] = And(ShiftRight(Word(r, 16, sub / 4 * 8 + j, lane), sub % 4 * 2), two);
    }
  }
};

}  // namespace
}  // namespace deepshock
