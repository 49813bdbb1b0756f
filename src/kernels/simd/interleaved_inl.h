// SPDX-License-Identifier: Apache-2.0
// The integer matrix product over interleaved weights. A tile is kTileParts kLanes weight rows by R rows of
// activations: a block of weights is unpacked to eight vectors of codes a part once, and each row of
// activations multiplies all of them, four columns at a time broadcast from memory. Sums of 32 (or 16)
// columns are exact integers; scales are then applied in float32 from the first column to the last, so a
// row's result does not depend on R, on the panel or on the width of the vectors. Included by each
// instruction set's room after vector.h, int_vector.h and interleaved_formats_inl.h.
#pragma once

#include <cstdint>
#include <cstring>

namespace deepshock {
namespace {

// How far ahead of the weights being used the next are asked for. The processor's own prefetcher follows a
// stream that is read fast; with many rows of activations to a block of weights it comes too late.
constexpr int kPrefetchBytes = 4096;

DS_INLINE I SplatWord(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return SplatI(word);
}

// What the codes' offset adds to a sum.
template <class Format>
DS_INLINE I SumStart(const int32_t& minus_sum) {
  if constexpr (Format::kOffsetBits < 0) return SplatI(0);
  return SplatShiftedLeft<(Format::kOffsetBits < 0 ? 0 : Format::kOffsetBits)>(&minus_sum);
}

template <class Format>
DS_INLINE I DotWord(I sum, I codes, const int8_t* word) {
  if constexpr (Format::kSignedCodes) return DotSigned4(sum, codes, SplatWord(word));
  return Dot4Word(sum, codes, word);
}

template <class Format>
DS_INLINE I DotCodes(I sum, I codes, I bytes) {
  if constexpr (Format::kSignedCodes) return DotSigned4(sum, codes, bytes);
  return Dot4(sum, codes, bytes);
}

// Vectors of codes whose products a machine that adds them in 16 bits can add up before it widens the sum.
template <class Format>
constexpr int PairedVectors() {
  if (Format::kSignedCodes) return 1;
  const int fit = kMostPairedCodes / Format::kLargestCode;
  return fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}

// dots[p][r] += codes of part p . q of row r over kCount vectors of codes, four columns each. Every broadcast
// of activations meets all parts, and the rows' and parts' chains overlap.
template <class Format, int kCount, int kParts, int kRows>
DS_INLINE void AddDots(const I (&codes)[kParts][8], int first, const int8_t* values,
                       I (&dots)[kParts][kRows]) {
  constexpr int kPaired = PairedVectors<Format>() < kCount ? PairedVectors<Format>() : kCount;
#pragma GCC unroll 8
  for (int j = 0; j < kCount; j += kPaired) {
    I pairs[kParts][kRows];
#pragma GCC unroll 8
    for (int i = j; i < j + kPaired; ++i) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        if constexpr (kParts == 1 && kPaired == 1) {
          dots[0][r] = DotWord<Format>(dots[0][r], codes[0][first + i], values + r * 32 + (first + i) * 4);
          continue;
        }
        const I bytes = SplatWord(values + r * 32 + (first + i) * 4);
#pragma GCC unroll 2
        for (int p = 0; p < kParts; ++p) {
          if constexpr (kPaired == 1) {
            dots[p][r] = DotCodes<Format>(dots[p][r], codes[p][first + i], bytes);
          } else {
            const I two = DotPairs(codes[p][first + i], bytes);
            pairs[p][r] = i == j ? two : AddPairs(pairs[p][r], two);
          }
        }
      }
    }
    if constexpr (kPaired > 1) {
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) dots[p][r] = AddWidened(dots[p][r], pairs[p][r]);
      }
    }
  }
}

// sums[p][r] += scale * (codes . q) - min * sum(q), for kRows rows.
template <class Format, int kParts, int kRows>
DS_INLINE void AddBlock(const I (&codes)[kParts][8], const typename Format::Scales (&scales)[kParts],
                        int64_t sub, const int8_t* values, const BlockScale* x, F (*sums)[kParts]) {
  constexpr int kPieces = 32 / Format::kScaleCols;  // that have scales of their own
#pragma GCC unroll 2
  for (int h = 0; h < kPieces; ++h) {
    I dots[kParts][kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const int32_t& minus_sum = kPieces == 1 ? x[r].minus_sum
                                 : h == 0     ? x[r].minus_sum_low
                                              : x[r].minus_sum_high;
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) dots[p][r] = SumStart<Format>(minus_sum);
    }
    AddDots<Format, 8 / kPieces, kParts, kRows>(codes, 8 / kPieces * h, values, dots);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F x_scale = Set1(x[r].scale);
      const int32_t minus_sum = h == 0 ? x[r].minus_sum_low : x[r].minus_sum_high;
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) {
        const int64_t at = kPieces * sub + h;
        F& sum = sums[r][p];
        sum = Fma(Mul(ToF(dots[p][r]), x_scale), scales[p].scale[at], sum);
        if constexpr (Format::kHasMin && kPieces == 1) {
          sum = Fma(scales[p].min[at], Set1(x[r].minus_scaled_sum), sum);
        } else if constexpr (Format::kHasMin) {
          sum = Fma(scales[p].min[at], Mul(ToF(SplatI(minus_sum)), x_scale), sum);
        }
      }
    }
  }
}

// kRows rows of a panel of `step` rows against kParts kLanes rows of one group; y[r] gets as many results.
template <class Format, int kParts, int kRows>
void Tile(const uint8_t* group, int lane, const int8_t* values, const BlockScale* x, int64_t step,
          int64_t num_records, F (&y)[kRows][kParts]) {
  // Chains of products that run at once: enough to hide their latency, few enough for the registers.
  constexpr int kChains = kRows % 4 == 0 ? 4 : kRows;
  // Asked for with each 32 columns: a record's lines at once would have to wait for each other.
  constexpr int kSubBytes = 16 * Format::kBlockBytes / (Format::kBlockCols / 32);
  F sums[kRows][kParts];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kParts; ++p) sums[r][p] = Set1(0.0f);
  }
  for (int64_t i = 0; i < num_records; ++i) {
    typename Format::Scales scales[kParts];
    for (int p = 0; p < kParts; ++p) Format::LoadScales(group, lane + p * kLanes, &scales[p]);
    const auto add_sub = [&](int64_t sub) __attribute__((always_inline)) {
      for (int at = 0; at < kSubBytes; at += 64) {
        __builtin_prefetch(group + kPrefetchBytes + sub * kSubBytes + at);
      }
      I codes[kParts][8];
      for (int p = 0; p < kParts; ++p) Format::Codes(group, sub, lane + p * kLanes, codes[p]);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; r += kChains) {
        AddBlock<Format, kParts, kChains>(codes, scales, sub, values + r * 32, x + r, sums + r);
      }
      values += step * 32;
      x += step;
    };
    if constexpr (Format::kBlockCols == 256 && kRows <= kUnrolledRows) {
#pragma GCC unroll 8
      for (int64_t sub = 0; sub < 8; ++sub) add_sub(sub);
    } else {
#pragma GCC unroll 1
      for (int64_t sub = 0; sub < Format::kBlockCols / 32; ++sub) add_sub(sub);
    }
    group += 16 * Format::kBlockBytes;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kParts; ++p) y[r][p] = sums[r][p];
  }
}

// Where a product's results go.
struct Output {
  const int32_t* slots;
  float* y;
  int64_t y_stride;
  DS_INLINE float* Row(int64_t t) const { return y + (slots != nullptr ? slots[t] : t) * y_stride; }
};

// Rows [first, first + kRows) of the panel that begins at row `panel_row`, against one group.
template <class Format, int kRows>
DS_INLINE void TileToOutput(const Matrix& w, int64_t group_row, const QuantizedRows& x, int64_t row,
                            int64_t step, const Output& out) {
  const auto* group = reinterpret_cast<const uint8_t*>(w.data) + group_row * w.row_stride;
  const int64_t panel_row = row / kPanelRows * kPanelRows;
  const int64_t block = panel_row * x.num_blocks + (row - panel_row);
  const int64_t left = w.rows - group_row;
  constexpr int kWidth = kTileParts * kLanes;
  for (int lane = 0; lane < 16 && lane < left; lane += kWidth) {
    F y[kRows][kTileParts];
    Tile<Format, kTileParts, kRows>(group, lane, x.values + block * 32, x.scales + block, step,
                                    w.cols / Format::kBlockCols, y);
    for (int r = 0; r < kRows; ++r) {
      float* to = out.Row(row + r) + group_row + lane;
      for (int p = 0; p < kTileParts; ++p) {
        const int64_t lanes = left - lane - p * kLanes;
        if (lanes >= kLanes) {
          Store(to + p * kLanes, y[r][p]);
        } else if (lanes > 0) {
          StorePart(to + p * kLanes, y[r][p], lanes);
        }
      }
    }
  }
}

// All rows of one panel, in tiles as large as the registers hold.
template <class Format>
void PanelProduct(const Matrix& w, int64_t group_row, const QuantizedRows& x, int64_t row, int64_t step,
                  const Output& out) {
  const int64_t end = row + step;
  if constexpr (kMaxTileRows >= 16) {
    for (; end - row >= 16; row += 16) TileToOutput<Format, 16>(w, group_row, x, row, step, out);
  }
  if constexpr (kMaxTileRows >= 8) {
    for (; end - row >= 8; row += 8) TileToOutput<Format, 8>(w, group_row, x, row, step, out);
  }
  for (; end - row >= 4; row += 4) TileToOutput<Format, 4>(w, group_row, x, row, step, out);
  switch (end - row) {
    case 3:
      return TileToOutput<Format, 3>(w, group_row, x, row, step, out);
    case 2:
      return TileToOutput<Format, 2>(w, group_row, x, row, step, out);
    case 1:
      return TileToOutput<Format, 1>(w, group_row, x, row, step, out);
  }
}

// Panels are taken in runs that stay in the L2 cache while the groups pass by.
template <class Format>
void Product(const Matrix& w, int64_t row_begin, int64_t row_end, const QuantizedRows& x,
             const int32_t* slots, float* y, int64_t y_stride) {
  constexpr int64_t kRunBytes = 256 << 10;
  const Output out{slots, y, y_stride};
  const int64_t row_bytes = x.num_blocks * (32 + static_cast<int64_t>(sizeof(BlockScale)));
  int64_t run = kRunBytes / row_bytes / kPanelRows * kPanelRows;
  if (run < kPanelRows) run = kPanelRows;
  for (int64_t begin = 0; begin < x.num_rows; begin += run) {
    const int64_t end = begin + run < x.num_rows ? begin + run : x.num_rows;
    for (int64_t group_row = row_begin; group_row < row_end; group_row += 16) {
      for (int64_t row = begin; row < end; row += kPanelRows) {
        const int64_t step = x.num_rows - row < kPanelRows ? x.num_rows - row : kPanelRows;
        PanelProduct<Format>(w, group_row, x, row, step, out);
      }
    }
  }
}

// Blocks of 32 activations: the largest magnitude by its bits, so that a NaN is the largest of all.
void QuantizeRow(const float* x, int64_t num_blocks, int64_t step, int8_t* values, BlockScale* scales) {
  constexpr int kParts = 32 / kLanes;
  for (int64_t b = 0; b < num_blocks; ++b) {
    I largest = SplatI(0);
    F parts[kParts];
    for (int i = 0; i < kParts; ++i) {
      parts[i] = Load(x + b * 32 + i * kLanes);
      largest = MaxI(largest, And(BitsOf(parts[i]), SplatI(0x7FFFFFFF)));
    }
    const int32_t bits = LargestLane(largest);
    float magnitude;
    __builtin_memcpy(&magnitude, &bits, sizeof(magnitude));
    const F inverse = Set1(magnitude > 0 ? 127.0f / magnitude : 0.0f);
    I rounded[kParts];
    // Of a block with a NaN or an infinity the scale tells; its codes are of no use, and no machine's
    // conversion of them is another's.
    const bool finite = bits < 0x7F800000;
    for (int i = 0; i < kParts; ++i) rounded[i] = finite ? RoundToI(Mul(parts[i], inverse)) : SplatI(0);
    BlockScale& s = scales[b * step];
    int32_t low = 0, high = 0;
    for (int i = 0; i < kParts / 2; ++i) {
      low += SumLanes(rounded[i]);
      high += SumLanes(rounded[kParts / 2 + i]);
    }
    for (int i = 0; i < kParts; ++i) StoreAsBytes(values + b * step * 32 + i * kLanes, rounded[i]);
    s.scale = magnitude / 127.0f;
    s.minus_sum_low = -low;
    s.minus_sum_high = -high;
    s.minus_sum = -low - high;
    s.minus_scaled_sum = s.scale * static_cast<float>(s.minus_sum);
  }
}

void MatmulInterleaved(const Matrix& w, int64_t row_begin, int64_t row_end, const QuantizedRows& x,
                       const int32_t* slots, float* y, int64_t y_stride) {
  switch (w.dtype) {
    case DType::kQ4_0:
      return Product<FormatQ4_0>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ4_1:
      return Product<FormatQ4_1>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ5_0:
      return Product<FormatQ5_0>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ5_1:
      return Product<FormatQ5_1>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ8_0:
      return Product<FormatQ8_0>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kMxfp4:
      return Product<FormatMxfp4>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ2_K:
      return Product<FormatQ2_K>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ3_K:
      return Product<FormatQ3_K>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ4_K:
      return Product<FormatQ4_K>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ5_K:
      return Product<FormatQ5_K>(w, row_begin, row_end, x, slots, y, y_stride);
    case DType::kQ6_K:
      return Product<FormatQ6_K>(w, row_begin, row_end, x, slots, y, y_stride);
    default:
      __builtin_trap();  // CanInterleave has no other type
  }
}

}  // namespace
}  // namespace deepshock
