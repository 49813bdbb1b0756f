// SPDX-License-Identifier: Apache-2.0
// Matrix: a non-owning view of one stored weight matrix in any DType: row-major as files have it, or
// interleaved for the kernels. The bytes usually lie in a memory-mapped file, which must outlive the view. A
// norm weight or bias is a matrix of one row.
// The convention everywhere: y[t, n] = sum over k of x[t, k] W[n, k], so rows = outputs, cols = inputs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "tensor/dtype.h"

namespace deepshock {

struct Matrix {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;  // null: the matrix is absent (an optional weight)
  int64_t row_stride = 0;           // bytes from one row to the next
  // kF8E4M3: float32 [ceil(rows_of_tensor/128), ceil(cols/128)], one for each 128x128 block.
  // kMxfp4Split: E8M0 bytes [rows, cols/32]. Otherwise null.
  const std::byte* scales = nullptr;
  int64_t scale_row_stride = 0;  // bytes from one row of scales to the next (kF8E4M3: one row per 128 rows)
  int64_t scale_row_offset = 0;  // kF8E4M3: this view's row 0 is row `scale_row_offset` of the scaled tensor
  // In the kernels' layout (tensor/interleaved.h): 16 rows at a time, of row_stride bytes each. Row() is then
  // meaningful for multiples of 16 only.
  bool interleaved = false;

  explicit operator bool() const { return data != nullptr; }
  const std::byte* Row(int64_t row) const { return data + row * row_stride; }
  // Stored bytes that one pass over the matrix reads.
  int64_t bytes() const {
    int64_t scale_bytes = 0;
    if (dtype == DType::kMxfp4Split) scale_bytes = rows * (cols / 32);
    if (dtype == DType::kF8E4M3) scale_bytes = (rows + 127) / 128 * ((cols + 127) / 128) * 4;
    return rows * RowBytes(dtype, cols) + scale_bytes;
  }
};

// Rows [begin, begin + count) of `m`, no copy.
inline Matrix RowsOf(const Matrix& m, int64_t begin, int64_t count) {
  DS_CHECK(begin >= 0 && count >= 0 && begin + count <= m.rows, "row range outside the matrix");
  DS_CHECK(!m.interleaved || begin % 16 == 0, "an interleaved matrix is cut between its groups of 16 rows");
  Matrix out = m;
  out.rows = count;
  out.data = m.Row(begin);
  if (m.dtype == DType::kF8E4M3) out.scale_row_offset += begin;
  if (m.dtype == DType::kMxfp4Split) out.scales += begin * m.scale_row_stride;
  return out;
}

// Every second row of `m` from `first` (0 or 1), no copy: gpt-oss interleaves gate and up rows.
inline Matrix EverySecondRow(const Matrix& m, int64_t first) {
  DS_CHECK(m.dtype != DType::kF8E4M3 && !m.interleaved, "fp8 block scales and groups cannot be strided");
  Matrix out = RowsOf(m, first, m.rows - first);
  out.rows = (m.rows - first + 1) / 2;
  out.row_stride *= 2;
  out.scale_row_stride *= 2;
  return out;
}

}  // namespace deepshock
