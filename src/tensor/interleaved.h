// SPDX-License-Identifier: Apache-2.0
// The kernels' layout of quantised weights: 16 rows interleaved, so that one vector load brings the same
// field of 16 rows (of 8 or 4 of them, on narrower machines) and every lane of a sum belongs to one row.
//
// A group of 16 rows takes exactly the bytes that the rows had, record by record; a record is the 16 blocks
// at one place of the 16 rows. Within a record the block's fields keep their order, and each field's units
// (2-byte scales, 4-byte words of codes) are interleaved: unit u of row r of a field that starts at byte f of
// a block of the stored format lies at byte 16 f + (16 u + r) * unit. Two fields are rearranged inside a
// word:
//   Q5_0, Q5_1  qh: bit 4 of element 4 j + k lies at bit 8 k + j of the word
//   MXFP4 from gpt-oss's split tensors: nibbles put into the order of GGUF's block
// Rows past the matrix's end in the last group are zero. The layout is the same for every instruction set and
// has a version, because files hold it too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/matrix.h"

namespace deepshock {

inline constexpr int kInterleavedRows = 16;
inline constexpr int kInterleavedVersion = 1;

// Whether the kernels have this layout for `m`: a quantised type, stored in rows.
bool CanInterleave(const Matrix& m);

// The interleaved matrix that `m` becomes: same shape, data still null.
Matrix InterleavedShape(const Matrix& m);
// Bytes of an interleaved matrix, the last group padded to 16 rows.
int64_t InterleavedBytes(const Matrix& interleaved);

// Writes the groups of rows [row_begin, row_end) of `m` (as stored) to `out`, the place of row_begin's group.
// row_begin is a multiple of 16, and so is row_end unless it is m.rows. Touches each input byte once.
void InterleaveRows(const Matrix& m, int64_t row_begin, int64_t row_end, std::byte* out);

// One row of an interleaved matrix as the stored format has it: RowBytes(m.dtype, m.cols) bytes.
void GatherInterleavedRow(const Matrix& m, int64_t row, std::byte* out);

}  // namespace deepshock
