// SPDX-License-Identifier: Apache-2.0
// Stored weights to float32 and back. Plain code: this is the oracle that every fast kernel is compared with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "tensor/matrix.h"

namespace deepshock {

// Decodes row `row` of `m` into out[0 .. m.cols). Exact: every product and sum is one the format defines.
void DecodeRow(const Matrix& m, int64_t row, float* out);

// Whether EncodeRow can write `dtype`: F32, F16, BF16, Q8_0, Q4_0, MXFP4, Q4_K, Q6_K.
bool CanEncode(DType dtype);

// Quantises values[0 .. n) into RowBytes(dtype, n) bytes; n must be a multiple of the block.
// `importance`, when not empty, holds n non-negative weights of the squared error.
// Fails on a NaN or infinity.
Status EncodeRow(DType dtype, std::span<const float> values, std::span<const float> importance,
                 std::byte* out);

}  // namespace deepshock
