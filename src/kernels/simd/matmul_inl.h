// SPDX-License-Identifier: Apache-2.0
// Products with stored weights, written over the names of <isa>/vector.h, which comes first. Internal
// linkage: see kernels/isa.h.
//
// The one order of additions behind y[t, n], whatever is computed beside it: the columns are cut into chunks
// of kChunkCols; in a chunk, lane i adds up columns i, i + kLanes, ... in turn; then the lanes are added
// (ReduceSum), then the chunks in turn.
#pragma once

#include <cstdint>

#include "kernels/isa.h"
#include "kernels/simd/decode_inl.h"
#include "kernels/simd/vector_inl.h"

namespace deepshock {
namespace {

constexpr int kTileRows = 4;

DS_INLINE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// From one decoded row of a chunk to the next, in floats; at most one line more than the least multiple.
DS_INLINE int64_t ScratchStride(int64_t count) {
  return ((count + kScratchLine - 1) / kScratchLine | 1) * kScratchLine;
}

// Decodes and multiplies on the way, for a single token.
struct DotSink {
  const float* x;
  F sum;
  DS_INLINE void Put(int64_t k, F v) { sum = Fma(v, Load(x + k), sum); }
  DS_INLINE void PutPart(int64_t k, F v, int64_t n) { sum = Fma(v, LoadPart(x + k, n), sum); }
};

template <typename Decoder, int R>
void DotRows(const Matrix& w, int64_t row, const float* x, float* y) {
  RowBytesView rows[R];
  for (int r = 0; r < R; ++r) rows[r] = ViewRow(w, row + r);
  for (int64_t k = 0; k < w.cols; k += kChunkCols) {
    DotSink sinks[R];
    for (int r = 0; r < R; ++r) sinks[r] = {x, Set1(0)};
    DecodeRange<Decoder, R>(rows, k, Least(k + kChunkCols, w.cols), sinks);
    for (int r = 0; r < R; ++r) y[r] = k == 0 ? ReduceSum(sinks[r].sum) : y[r] + ReduceSum(sinks[r].sum);
  }
}

void MatvecRows(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x, float* y) {
  WithDecoder(w.dtype, [&](auto decoder) __attribute__((always_inline)) {
    using Decoder = decltype(decoder);
    // Several rows at once, so that one sum need not wait for itself; a K-quant block is long enough for
    // two.
    constexpr int kRows = Decoder::kElements == 256 ? 2 : 4;
    int64_t row = row_begin;
    for (; row + kRows <= row_end; row += kRows) DotRows<Decoder, kRows>(w, row, x, y + row);
    for (; row < row_end; ++row) DotRows<Decoder, 1>(w, row, x, y + row);
  });
}

// One decoded block of a format without blocks of its own.
struct BlockSink {
  int64_t begin;
  F v[kVectors];
  DS_INLINE void Put(int64_t k, F value) { v[(k - begin) / kLanes] = value; }
};

// Columns [begin, end) of R rows against T tokens, decoded in registers; x begins at column `begin`. y[t *
// y_stride + r] is set (begin = 0) or added to. Meanwhile asks memory for what lies `ahead` bytes further.
template <typename Decoder, int R, int T>
void DotChunk(const RowBytesView (&rows)[R], int64_t ahead, int64_t begin, int64_t end, const float* x,
              int64_t x_stride, float* y, int64_t y_stride) {
  constexpr int kBytes = Decoder::kBytes;
  F sum[R][T];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) sum[r][t] = Set1(0);
  }
  int64_t k = begin, at = begin / 16 * kBytes;
  for (; k + 16 <= end; k += 16, at += kBytes, x += 16) {
    BlockSink block[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      block[r].begin = k;
      // To the L2 cache: rows may share sets of the L1.
      if (k % (64 / kBytes * 16) == 0) __builtin_prefetch(rows[r].data + at + ahead, 0, 2);
      Decoder::Block(rows[r].data + at, rows[r].scales, k, block[r]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        const F xs = InRegister(Load(x + t * x_stride + i * kLanes));
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sum[r][t] = Fma(block[r].v[i], xs, sum[r][t]);
      }
    }
  }
  if (k < end) {
    for (int r = 0; r < R; ++r) {
      uint8_t padded[kBytes] = {};
      std::memcpy(padded, rows[r].data + at, static_cast<size_t>((end - k) * (kBytes / 16)));
      BlockSink block;
      block.begin = k;
      Decoder::Block(padded, rows[r].scales, k, block);
      for (int i = 0; i < kVectors; ++i) {
        const int64_t left = end - k - i * kLanes;
        if (left <= 0) break;
        for (int t = 0; t < T; ++t) {
          const float* from = x + t * x_stride + i * kLanes;
          sum[r][t] = Fma(block.v[i], left >= kLanes ? Load(from) : LoadPart(from, left), sum[r][t]);
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      float* to = y + t * y_stride + r;
      *to = begin == 0 ? ReduceSum(sum[r][t]) : *to + ReduceSum(sum[r][t]);
    }
  }
}

// Some columns of some rows against all tokens, which begin at column `begin`.
struct DotRange {
  int64_t row_begin, row_end, begin, end;
  const float* x;
  int64_t x_stride, num_tokens;
  float* y;
  int64_t y_stride;
};

template <typename Decoder, int R, int T>
DS_INLINE void DotRowTile(const Matrix& w, int64_t row, const DotRange& d) {
  RowBytesView rows[R];
  for (int r = 0; r < R; ++r) rows[r] = ViewRow(w, row + r);
  for (int64_t k = d.begin; k < d.end; k += kChunkCols) {
    DotChunk<Decoder, R, T>(rows, R * w.row_stride, k, Least(k + kChunkCols, d.end), d.x + (k - d.begin),
                            d.x_stride, d.y + row, d.y_stride);
  }
}

template <typename Decoder, int R, int T>
void RowsInTiles(const Matrix& w, const DotRange& d) {
  int64_t row = d.row_begin;
  for (; row + R <= d.row_end; row += R) DotRowTile<Decoder, R, T>(w, row, d);
  for (; row < d.row_end; ++row) DotRowTile<Decoder, 1, T>(w, row, d);
}

constexpr int64_t kMostTileTokens = 6;

// Tiles of rows and tokens whose sums fit the registers.
template <typename Decoder>
void DotRowsOf(const Matrix& w, const DotRange& d) {
  constexpr int kRows = kTileTokens >= 6 ? 4 : 2;
  switch (d.num_tokens) {
    case 1:
      return RowsInTiles<Decoder, 4, 1>(w, d);
    case 2:
      return RowsInTiles<Decoder, 4, 2>(w, d);
    case 3:
      return RowsInTiles<Decoder, 4, 3>(w, d);
    case 4:
      return RowsInTiles<Decoder, kRows, 4>(w, d);
    case 5:
      return RowsInTiles<Decoder, kRows, 5>(w, d);
    default:
      return RowsInTiles<Decoder, kRows, kMostTileTokens>(w, d);
  }
}

void DotRowsOfType(const Matrix& w, const DotRange& d) {
  switch (w.dtype) {
    case DType::kF32:
      return DotRowsOf<F32Decoder>(w, d);
    case DType::kF16:
      return DotRowsOf<F16Decoder>(w, d);
    case DType::kBF16:
      return DotRowsOf<BF16Decoder>(w, d);
    case DType::kF8E4M3:
      return DotRowsOf<Fp8Decoder>(w, d);
    default:
      __builtin_trap();  // DotFewTokens asks for no other
  }
}

constexpr int64_t kMostDotTokens = 8;

// Few tokens against a format without blocks of its own, decoded in registers. A tile of tokens stays in the
// L1 cache while a block of rows passes by, which the next tile then reads from the L2. Where many tokens'
// rows might share sets of the L1, a chunk of them is copied to where they do not.
void DotFewTokens(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x, int64_t x_stride,
                  int64_t num_tokens, float* y, int64_t y_stride, float* scratch) {
  constexpr int64_t kFewest = 4, kStride = kChunkCols + kScratchLine;
  static_assert(kMostDotTokens * kStride <= kBlockRows * kChunkCols);
  if (num_tokens < kFewest) {
    return DotRowsOfType(w, {row_begin, row_end, 0, w.cols, x, x_stride, num_tokens, y, y_stride});
  }
  // Tiles of equal size: 8 tokens are better cut into 4 and 4 than into 6 and 2.
  const int64_t num_tiles = (num_tokens + kMostTileTokens - 1) / kMostTileTokens;
  const int64_t tile = (num_tokens + num_tiles - 1) / num_tiles;
  for (int64_t k = 0; k < w.cols; k += kChunkCols) {
    const int64_t end = Least(k + kChunkCols, w.cols);
    const bool copied = w.cols >= kChunkCols;  // scratch is large enough then
    for (int64_t t = 0; copied && t < num_tokens; ++t) {
      std::memcpy(scratch + t * kStride, x + t * x_stride + k, static_cast<size_t>(end - k) * sizeof(float));
    }
    const float* from = copied ? scratch : x;
    const int64_t stride = copied ? kStride : x_stride;
    for (int64_t row = row_begin; row < row_end; row += kBlockRows) {
      for (int64_t t = 0; t < num_tokens; t += tile) {
        DotRowsOfType(w, {row, Least(row + kBlockRows, row_end), k, end, from + t * stride, stride,
                          Least(tile, num_tokens - t), y + t * y_stride, y_stride});
      }
    }
  }
}

bool IsWithoutBlocks(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF8E4M3;
}

// sums[t][r] = x[t] . rows[r] over `count` columns.
template <int T>
void Tile(const float* const* rows, int64_t count, const float* x, int64_t x_stride,
          float (&sums)[kTileTokens][kTileRows]) {
  F acc[kTileRows][T];
  for (int r = 0; r < kTileRows; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = Set1(0);
  }
  const float* w[kTileRows] = {rows[0], rows[1], rows[2], rows[3]};
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    F xs[T];
    for (int t = 0; t < T; ++t) xs[t] = Load(x + t * x_stride + k);
    for (int r = 0; r < kTileRows; ++r) {
      const F weight = Load(w[r] + k);
      for (int t = 0; t < T; ++t) acc[r][t] = Fma(weight, xs[t], acc[r][t]);
    }
  }
  if (const int64_t rest = count - k; rest > 0) {
    for (int r = 0; r < kTileRows; ++r) {
      const F weight = LoadPart(w[r] + k, rest);
      for (int t = 0; t < T; ++t) acc[r][t] = Fma(weight, LoadPart(x + t * x_stride + k, rest), acc[r][t]);
    }
  }
  for (int t = 0; t < T; ++t) ReduceSums(acc[0][t], acc[1][t], acc[2][t], acc[3][t], sums[t]);
}

void TileOf(int64_t num_tokens, const float* const* rows, int64_t count, const float* x, int64_t x_stride,
            float (&sums)[kTileTokens][kTileRows]) {
  static_assert(kTileTokens == 3 || kTileTokens == 6);
  switch (num_tokens) {
    case 1:
      return Tile<1>(rows, count, x, x_stride, sums);
    case 2:
      return Tile<2>(rows, count, x, x_stride, sums);
    case 3:
      return Tile<3>(rows, count, x, x_stride, sums);
#if defined(__AVX512F__) || defined(__aarch64__)
    case 4:
      return Tile<4>(rows, count, x, x_stride, sums);
    case 5:
      return Tile<5>(rows, count, x, x_stride, sums);
    case 6:
      return Tile<6>(rows, count, x, x_stride, sums);
#endif
  }
}

// One block of rows, one chunk of columns, all tokens.
void MultiplyBlock(const float* const* rows, int64_t num_rows, int64_t count, const float* x,
                   int64_t x_stride, int64_t num_tokens, bool first_chunk, float* y, int64_t y_stride) {
  // Tiles of equal size: 8 tokens are better cut into 4 and 4 than into 6 and 2.
  const int64_t num_tiles = (num_tokens + kTileTokens - 1) / kTileTokens;
  const int64_t tile = (num_tokens + num_tiles - 1) / num_tiles;
  for (int64_t t = 0; t < num_tokens; t += tile) {
    const int64_t tokens = Least(tile, num_tokens - t);
    for (int64_t r = 0; r < num_rows; r += kTileRows) {
      float sums[kTileTokens][kTileRows];
      TileOf(tokens, rows + r, count, x + t * x_stride, x_stride, sums);
      const int64_t valid = Least(kTileRows, num_rows - r);
      for (int64_t i = 0; i < tokens; ++i) {
        float* out = y + (t + i) * y_stride + r;
        if (valid == kTileRows) {
          for (int64_t j = 0; j < kTileRows; ++j) out[j] = first_chunk ? sums[i][j] : out[j] + sums[i][j];
          continue;
        }
        for (int64_t j = 0; j < valid; ++j) out[j] = first_chunk ? sums[i][j] : out[j] + sums[i][j];
      }
    }
  }
}

void MatmulRows(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x, int64_t x_stride,
                int64_t num_tokens, float* y, int64_t y_stride, float* scratch) {
  if (num_tokens <= 0) return;
  constexpr uintptr_t kLineBytes = kScratchLine * sizeof(float);
  const uintptr_t past_line = reinterpret_cast<uintptr_t>(scratch) % kLineBytes;
  if (past_line != 0) scratch += (kLineBytes - past_line) / sizeof(float);
  if (num_tokens <= kMostDotTokens && IsWithoutBlocks(w.dtype)) {
    return DotFewTokens(w, row_begin, row_end, x, x_stride, num_tokens, y, y_stride, scratch);
  }
  if (num_tokens == 1) return MatvecRows(w, row_begin, row_end, x, y);
  for (int64_t row = row_begin; row < row_end; row += kBlockRows) {
    const int64_t num_rows = Least(kBlockRows, row_end - row);
    for (int64_t k = 0; k < w.cols; k += kChunkCols) {
      const int64_t count = Least(kChunkCols, w.cols - k), stride = ScratchStride(count);
      // A tile always takes kTileRows rows; past the end it repeats the last one and drops the sums.
      const float* rows[kBlockRows];
      for (int64_t r = 0; r < kBlockRows; ++r) {
        const int64_t at = Least(r, num_rows - 1);
        if (w.dtype == DType::kF32) {
          rows[r] = reinterpret_cast<const float*>(ViewRow(w, row + at).data) + k;
        } else {
          rows[r] = scratch + at * stride;
          if (at == r) DecodePart(w, row + r, k, count, scratch + r * stride);
        }
      }
      MultiplyBlock(rows, num_rows, count, x + k, x_stride, num_tokens, k == 0, y + row, y_stride);
    }
  }
}

// y[k] += factor * value of column k
struct AxpySink {
  F factor;
  float* y;
  DS_INLINE void Put(int64_t k, F v) { Store(y + k, Fma(factor, v, Load(y + k))); }
  DS_INLINE void PutPart(int64_t k, F v, int64_t n) {
    StorePart(y + k, Fma(factor, v, LoadPart(y + k, n)), n);
  }
};

void MatvecTransposed(const Matrix& w, const float* x, float* y, float* /*scratch*/) {
  for (int64_t k = 0; k < w.cols; ++k) y[k] = 0;
  WithDecoder(w.dtype, [&](auto decoder) __attribute__((always_inline)) {
    for (int64_t row = 0; row < w.rows; ++row) {
      const RowBytesView rows[1] = {ViewRow(w, row)};
      AxpySink sinks[1] = {{Set1(x[row]), y}};
      DecodeRange<decltype(decoder), 1>(rows, 0, w.cols, sinks);
    }
  });
}

}  // namespace
}  // namespace deepshock
