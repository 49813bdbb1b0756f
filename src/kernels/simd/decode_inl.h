// SPDX-License-Identifier: Apache-2.0
// Stored formats to float32, bit for bit as tensor/codec.h does it, written over the names of <isa>/vector.h,
// which comes first. Internal linkage: see kernels/isa.h. The layouts are specified in tensor/codec_*.h.
//
// A decoder is a struct with kElements and kBytes (of one block) and
//   Block(data, scales, k, sink): hands the block at `data`, whose first element is column k, to the sink.
// `scales` is the row's scales where the format keeps them apart. A sink takes kLanes elements a call:
//   Put(k, values)
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/isa.h"
#include "tensor/codec_kquant.h"
#include "tensor/codec_legacy.h"
#include "tensor/codec_mxfp4.h"

namespace deepshock {
namespace {

constexpr int kVectors = 16 / kLanes;  // of a Sixteen

DS_INLINE uint16_t ReadU16(const uint8_t* p) {
  uint16_t v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
DS_INLINE float ReadF16(const uint8_t* p) { return FloatOfF16(ReadU16(p)); }
DS_INLINE float ReadF32(const uint8_t* p) {
  float v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <typename Sink>
DS_INLINE void Put16(Sink& sink, int64_t k, Sixteen s) {
  for (int i = 0; i < kVectors; ++i) sink.Put(k + i * kLanes, s.v[i]);
}
// scale * q
template <typename Sink>
DS_INLINE void PutScaled(Sink& sink, int64_t k, Sixteen q, F scale) {
  for (int i = 0; i < kVectors; ++i) sink.Put(k + i * kLanes, Mul(scale, q.v[i]));
}
// scale * q + offset, rounded twice as the formats define it
template <typename Sink>
DS_INLINE void PutAffine(Sink& sink, int64_t k, Bytes q, F scale, F offset) {
  const Sixteen s = FromInt8(q);
  for (int i = 0; i < kVectors; ++i) sink.Put(k + i * kLanes, Add(Mul(scale, s.v[i]), offset));
}

struct F32Decoder {
  static constexpr int kElements = 16, kBytes = 64;
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    for (int i = 0; i < 16; i += kLanes) sink.Put(k + i, Load(reinterpret_cast<const float*>(data) + i));
  }
};

struct F16Decoder {
  static constexpr int kElements = 16, kBytes = 32;
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    Put16(sink, k, FromF16(data));
  }
};

struct BF16Decoder {
  static constexpr int kElements = 16, kBytes = 32;
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    Put16(sink, k, FromBF16(data));
  }
};

// E4M3's exponent and fraction in an F16's place make the value 2^-8 times too small (bias 15 against 7).
struct Fp8Decoder {
  static constexpr int kElements = 16, kBytes = 16;
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t* scales, int64_t k, Sink& sink) {
    const F scale = Set1(256 * ReadF32(scales + static_cast<uint64_t>(k) / 128 * 4));
    PutScaled(sink, k, FromE4M3AsF16(Load16(data)), scale);
  }
};

struct Q8_0Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockQ8_0);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F d = Set1(ReadF16(data));
    const uint8_t* qs = data + offsetof(BlockQ8_0, qs);
    PutScaled(sink, k, FromInt8(Load16(qs)), d);
    PutScaled(sink, k + 16, FromInt8(Load16(qs + 16)), d);
  }
};

struct Q4_0Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockQ4_0);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F d = Set1(ReadF16(data));
    const Bytes qs = Load16(data + offsetof(BlockQ4_0, qs)), eight = EveryByte(8);
    PutScaled(sink, k, FromInt8(SubBytes(LowNibbles(qs), eight)), d);
    PutScaled(sink, k + 16, FromInt8(SubBytes(HighNibbles(qs), eight)), d);
  }
};

struct Q4_1Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockQ4_1);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F d = Set1(ReadF16(data)), m = Set1(ReadF16(data + offsetof(BlockQ4_1, m)));
    const Bytes qs = Load16(data + offsetof(BlockQ4_1, qs));
    PutAffine(sink, k, LowNibbles(qs), d, m);
    PutAffine(sink, k + 16, HighNibbles(qs), d, m);
  }
};

struct Q5_0Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockQ5_0);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F d = Set1(ReadF16(data));
    const uint8_t* qh = data + offsetof(BlockQ5_0, qh);
    const Bytes qs = Load16(data + offsetof(BlockQ5_0, qs)), sixteen = EveryByte(16);
    const Bytes low = OrBytes(LowNibbles(qs), WhereBit(ReadU16(qh), 16));
    const Bytes high = OrBytes(HighNibbles(qs), WhereBit(ReadU16(qh + 2), 16));
    PutScaled(sink, k, FromInt8(SubBytes(low, sixteen)), d);
    PutScaled(sink, k + 16, FromInt8(SubBytes(high, sixteen)), d);
  }
};

struct Q5_1Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockQ5_1);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F d = Set1(ReadF16(data)), m = Set1(ReadF16(data + offsetof(BlockQ5_1, m)));
    const uint8_t* qh = data + offsetof(BlockQ5_1, qh);
    const Bytes qs = Load16(data + offsetof(BlockQ5_1, qs));
    PutAffine(sink, k, OrBytes(LowNibbles(qs), WhereBit(ReadU16(qh), 16)), d, m);
    PutAffine(sink, k + 16, OrBytes(HighNibbles(qs), WhereBit(ReadU16(qh + 2), 16)), d, m);
  }
};

// Twice the E2M1 value of each nibble, an integer; it goes with half the scale.
DS_INLINE Sixteen TwiceE2M1(Bytes nibbles) {
  static constexpr int8_t kTable[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return FromInt8(LookupBytes(kTable, nibbles));
}
// Half of an E8M0 scale: 2^(e - 128), of which the first two are subnormal; 255 is NaN.
DS_INLINE F HalfE8M0(uint8_t e) {
  const uint32_t bits = e == 255 ? 0x7FC00000u : e < 2 ? 0x00200000u << e : (e - 1u) << 23;
  float v;
  __builtin_memcpy(&v, &bits, sizeof(v));
  return Set1(v);
}

struct Mxfp4Decoder {
  static constexpr int kElements = 32, kBytes = sizeof(BlockMxfp4);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const F scale = HalfE8M0(data[0]);
    const Bytes qs = Load16(data + offsetof(BlockMxfp4, qs));
    PutScaled(sink, k, TwiceE2M1(LowNibbles(qs)), scale);
    PutScaled(sink, k + 16, TwiceE2M1(HighNibbles(qs)), scale);
  }
};

struct Mxfp4SplitDecoder {
  static constexpr int kElements = 32, kBytes = 16;
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t* scales, int64_t k, Sink& sink) {
    const F scale = HalfE8M0(scales[k / 32]);
    const Bytes qs = Load16(data), low = LowNibbles(qs), high = HighNibbles(qs);
    PutScaled(sink, k, TwiceE2M1(ZipLow(low, high)), scale);
    PutScaled(sink, k + 16, TwiceE2M1(ZipHigh(low, high)), scale);
  }
};

// d * scale and -(dmin * min) of group g of Q4_K and Q5_K.
struct GroupScale {
  F scale, offset;
};
DS_INLINE GroupScale ReadGroupScale(const uint8_t* s, int g, float d, float dmin) {
  const int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 0xF) | s[g - 4] >> 6 << 4;
  const int min = g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | s[g] >> 6 << 4;
  return {Set1(d * static_cast<float>(scale)), Set1(-(dmin * static_cast<float>(min)))};
}

struct Q4_KDecoder {
  static constexpr int kElements = 256, kBytes = sizeof(BlockQ4_K);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const float d = ReadF16(data), dmin = ReadF16(data + offsetof(BlockQ4_K, dmin));
    const uint8_t* scales = data + offsetof(BlockQ4_K, scales);
    const uint8_t* qs = data + offsetof(BlockQ4_K, qs);
    for (int g = 0; g < 8; g += 2, qs += 32, k += 64) {
      const Bytes q0 = Load16(qs), q1 = Load16(qs + 16);
      const GroupScale even = ReadGroupScale(scales, g, d, dmin),
                       odd = ReadGroupScale(scales, g + 1, d, dmin);
      PutAffine(sink, k, LowNibbles(q0), even.scale, even.offset);
      PutAffine(sink, k + 16, LowNibbles(q1), even.scale, even.offset);
      PutAffine(sink, k + 32, HighNibbles(q0), odd.scale, odd.offset);
      PutAffine(sink, k + 48, HighNibbles(q1), odd.scale, odd.offset);
    }
  }
};

struct Q5_KDecoder {
  static constexpr int kElements = 256, kBytes = sizeof(BlockQ5_K);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const float d = ReadF16(data), dmin = ReadF16(data + offsetof(BlockQ5_K, dmin));
    const uint8_t* scales = data + offsetof(BlockQ5_K, scales);
    const uint8_t* qh = data + offsetof(BlockQ5_K, qh);
    const uint8_t* qs = data + offsetof(BlockQ5_K, qs);
    const Bytes h0 = Load16(qh), h1 = Load16(qh + 16);
    for (int g = 0; g < 8; g += 2, qs += 32, k += 64) {
      const Bytes q0 = Load16(qs), q1 = Load16(qs + 16);
      const GroupScale even = ReadGroupScale(scales, g, d, dmin),
                       odd = ReadGroupScale(scales, g + 1, d, dmin);
      PutAffine(sink, k, OrBytes(LowNibbles(q0), WhereBitOfByte(h0, g, 16)), even.scale, even.offset);
      PutAffine(sink, k + 16, OrBytes(LowNibbles(q1), WhereBitOfByte(h1, g, 16)), even.scale, even.offset);
      PutAffine(sink, k + 32, OrBytes(HighNibbles(q0), WhereBitOfByte(h0, g + 1, 16)), odd.scale, odd.offset);
      PutAffine(sink, k + 48, OrBytes(HighNibbles(q1), WhereBitOfByte(h1, g + 1, 16)), odd.scale, odd.offset);
    }
  }
};

// Calls body(g, h, j, part) for the groups g = 8 h + 2 j + part of 16 elements. Written out, because GCC
// leaves the loops over j and part standing, and without their constants Q6_K runs at a third of the speed.
template <typename Body>
DS_INLINE void ForEachGroup(const Body& body) {
  for (int h = 0; h < 2; ++h) {
    body(8 * h + 0, h, 0, 0);
    body(8 * h + 1, h, 0, 1);
    body(8 * h + 2, h, 1, 0);
    body(8 * h + 3, h, 1, 1);
    body(8 * h + 4, h, 2, 0);
    body(8 * h + 5, h, 2, 1);
    body(8 * h + 6, h, 3, 0);
    body(8 * h + 7, h, 3, 1);
  }
}

struct Q2_KDecoder {
  static constexpr int kElements = 256, kBytes = sizeof(BlockQ2_K);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const float d = ReadF16(data + offsetof(BlockQ2_K, d)), dmin = ReadF16(data + offsetof(BlockQ2_K, dmin));
    const uint8_t* scales = data + offsetof(BlockQ2_K, scales);
    const uint8_t* qs = data + offsetof(BlockQ2_K, qs);
    ForEachGroup([&](int g, int h, int j, int part) __attribute__((always_inline)) {
      const Bytes q = TwoBits(Load16(qs + 32 * h + 16 * part), j);
      const float scale = d * static_cast<float>(scales[g] & 0xF),
                  min = dmin * static_cast<float>(scales[g] >> 4);
      PutAffine(sink, k + 16 * g, q, Set1(scale), Set1(-min));
    });
  }
};

struct Q3_KDecoder {
  static constexpr int kElements = 256, kBytes = sizeof(BlockQ3_K);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const float d = ReadF16(data + offsetof(BlockQ3_K, d));
    const uint8_t* scales = data + offsetof(BlockQ3_K, scales);
    const uint8_t* qs = data + offsetof(BlockQ3_K, qs);
    const uint8_t* hmask = data + offsetof(BlockQ3_K, hmask);
    ForEachGroup([&](int g, int h, int j, int part) __attribute__((always_inline)) {
      const Bytes high = WhereBitOfByte(Load16(hmask + 16 * part), 4 * h + j, 4);
      const Bytes q = OrBytes(TwoBits(Load16(qs + 32 * h + 16 * part), j), high);
      const int low = g < 8 ? scales[g] & 0xF : scales[g - 8] >> 4;
      const int scale = (low | ((scales[8 + g % 4] >> (2 * (g / 4))) & 3) << 4) - 32;
      PutScaled(sink, k + 16 * g, FromInt8(SubBytes(q, EveryByte(4))), Set1(d * static_cast<float>(scale)));
    });
  }
};

struct Q6_KDecoder {
  static constexpr int kElements = 256, kBytes = sizeof(BlockQ6_K);
  template <typename Sink>
  static DS_INLINE void Block(const uint8_t* data, const uint8_t*, int64_t k, Sink& sink) {
    const float d = ReadF16(data + offsetof(BlockQ6_K, d));
    const uint8_t* ql = data + offsetof(BlockQ6_K, ql);
    const uint8_t* qh = data + offsetof(BlockQ6_K, qh);
    const auto* scales = reinterpret_cast<const int8_t*>(data + offsetof(BlockQ6_K, scales));
    ForEachGroup([&](int g, int h, int j, int part) __attribute__((always_inline)) {
      const Bytes byte = Load16(ql + 64 * h + 32 * (j % 2) + 16 * part);
      const Bytes low = j < 2 ? LowNibbles(byte) : HighNibbles(byte);
      const Bytes high = ShiftBytesLeft4(TwoBits(Load16(qh + 32 * h + 16 * part), j));
      const Bytes q = SubBytes(OrBytes(low, high), EveryByte(32));
      PutScaled(sink, k + 16 * g, FromInt8(q), Set1(d * static_cast<float>(scales[g])));
    });
  }
};

// Calls body(decoder) for the type of weights.
template <typename Body>
DS_INLINE void WithDecoder(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body(F32Decoder());
    case DType::kF16:
      return body(F16Decoder());
    case DType::kBF16:
      return body(BF16Decoder());
    case DType::kF8E4M3:
      return body(Fp8Decoder());
    case DType::kMxfp4:
      return body(Mxfp4Decoder());
    case DType::kMxfp4Split:
      return body(Mxfp4SplitDecoder());
    case DType::kQ4_0:
      return body(Q4_0Decoder());
    case DType::kQ4_1:
      return body(Q4_1Decoder());
    case DType::kQ5_0:
      return body(Q5_0Decoder());
    case DType::kQ5_1:
      return body(Q5_1Decoder());
    case DType::kQ8_0:
      return body(Q8_0Decoder());
    case DType::kQ2_K:
      return body(Q2_KDecoder());
    case DType::kQ3_K:
      return body(Q3_KDecoder());
    case DType::kQ4_K:
      return body(Q4_KDecoder());
    case DType::kQ5_K:
      return body(Q5_KDecoder());
    case DType::kQ6_K:
      return body(Q6_KDecoder());
    default:
      __builtin_trap();  // weights are checked when they are loaded
  }
}

// The bytes of one row.
struct RowBytesView {
  const uint8_t* data;
  const uint8_t* scales;  // null where the format has none apart
};
DS_INLINE RowBytesView ViewRow(const Matrix& w, int64_t row) {
  const int64_t scale_row = w.dtype == DType::kF8E4M3 ? (w.scale_row_offset + row) / 128 : row;
  const auto* scales = reinterpret_cast<const uint8_t*>(w.scales);
  return {reinterpret_cast<const uint8_t*>(w.data) + row * w.row_stride,
          scales == nullptr ? nullptr : scales + scale_row * w.scale_row_stride};
}

// Hands on what lies before column `end`; only the last block of a row whose length is odd needs it.
template <typename Sink>
struct PartSink {
  Sink& sink;
  int64_t end;
  DS_INLINE void Put(int64_t k, F v) {
    if (k + kLanes <= end) {
      sink.Put(k, v);
    } else if (k < end) {
      sink.PutPart(k, v, end - k);
    }
  }
};

// Columns [begin, end) of R rows, each to its sink; `begin` is a multiple of the block.
template <typename Decoder, int R, typename Sink>
DS_INLINE void DecodeRange(const RowBytesView (&rows)[R], int64_t begin, int64_t end, Sink (&sinks)[R]) {
  constexpr int kElements = Decoder::kElements, kBytes = Decoder::kBytes;
  int64_t k = begin, at = begin / kElements * kBytes;
  for (; k + kElements <= end; k += kElements, at += kBytes) {
    for (int r = 0; r < R; ++r) Decoder::Block(rows[r].data + at, rows[r].scales, k, sinks[r]);
  }
  if constexpr (kElements == 16) {  // formats without blocks: a row may end anywhere
    if (k == end) return;
    for (int r = 0; r < R; ++r) {
      uint8_t padded[kBytes] = {};
      std::memcpy(padded, rows[r].data + at, static_cast<size_t>((end - k) * (kBytes / 16)));
      PartSink<Sink> part{sinks[r], end};
      Decoder::Block(padded, rows[r].scales, k, part);
    }
  }
}

// out[k - begin] = value of column k
struct StoreSink {
  float* out;
  int64_t begin;
  DS_INLINE void Put(int64_t k, F v) { Store(out + (k - begin), v); }
  DS_INLINE void PutPart(int64_t k, F v, int64_t n) { StorePart(out + (k - begin), v, n); }
};

void DecodePart(const Matrix& w, int64_t row, int64_t begin, int64_t count, float* out) {
  const RowBytesView rows[1] = {ViewRow(w, row)};
  StoreSink sinks[1] = {{out, begin}};
  WithDecoder(w.dtype, [&](auto decoder) __attribute__((always_inline)) {
    DecodeRange<decltype(decoder), 1>(rows, begin, begin + count, sinks);
  });
}

void DecodeRowSimd(const Matrix& w, int64_t row, float* out) { DecodePart(w, row, 0, w.cols, out); }

}  // namespace
}  // namespace deepshock
