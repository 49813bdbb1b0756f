// SPDX-License-Identifier: Apache-2.0
// FP8 as DeepSeek-V3 ships it (its inference/kernel.py, weight_dequant): E4M3 bytes, row-major, and a second
// tensor `weight_scale_inv` of float32 [ceil(rows / 128), ceil(cols / 128)]. 8 bits an element and 32 for
// each 128x128 block; value = e4m3 * scale_inv[row / 128][col / 128]; range of a block: +-448 * scale_inv.
// 0x7F and 0xFF are NaN. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepshock {

constexpr int kFp8BlockSize = 128;

// One row of `cols` elements; `scales` is the row of float32 scales (any alignment) of its 128 rows.
void DecodeFp8Row(const std::byte* row, const std::byte* scales, int64_t cols, float* out);

}  // namespace deepshock
