// SPDX-License-Identifier: Apache-2.0
// Activations in 8 bits, as the integer kernels read them. Each row is cut into blocks of 32 columns with one
// float32 scale: x = scale * q, q in -127..127, scale = max |x| / 127. NaN or infinity in a block makes its
// scale NaN or infinite, and so every product with it.
// Rows lie in panels of 16; within a panel a block's rows are neighbours, so that a kernel which holds a
// block of weights walks through them in order. A panel of n rows (n < 16 in the last one) has block b of row
// r at index b * n + r.
#pragma once

#include <algorithm>
#include <cstdint>

namespace deepshock {

inline constexpr int64_t kPanelRows = 16;
inline constexpr int64_t kQuantizedBlock = 32;  // columns

struct BlockScale {
  float scale;
  float minus_scaled_sum;  // -scale * (sum of q): what a weight's minimum is multiplied by
  int32_t minus_sum;       // -(sum of q): what the offset of a weight's unsigned code is multiplied by
  int32_t minus_sum_low, minus_sum_high;  // of columns 0..15 and 16..31
};

// A view; the memory is the caller's.
struct QuantizedRows {
  int64_t num_rows = 0;
  int64_t num_blocks = 0;        // of 32 columns, in a row
  int8_t* values = nullptr;      // [num_rows * num_blocks * 32]
  BlockScale* scales = nullptr;  // [num_rows * num_blocks]

  int64_t PanelSize(int64_t panel) const { return std::min(kPanelRows, num_rows - panel * kPanelRows); }
  // Index of block 0 of a row; the next block is PanelSize further.
  int64_t BlockIndex(int64_t row) const {
    const int64_t panel = row / kPanelRows;
    return panel * kPanelRows * num_blocks + row % kPanelRows;
  }
};

}  // namespace deepshock
