// SPDX-License-Identifier: Apache-2.0
#include "kernels/neon/vector.h"
#include "kernels/simd/decode_inl.h"
#include "kernels/simd/matmul_inl.h"
#include "kernels/simd/vector_inl.h"

namespace deepshock {

constinit const Kernels kNeonKernels = {
    .name = "neon",
    .dot = Dot,
    .axpy = Axpy,
    .decode_row = DecodeRowSimd,
    .matmul_rows = MatmulRows,
    .matvec_transposed = MatvecTransposed,
    .rms_norm = RmsNormRow,
    .softmax = Softmax,
    .swiglu = Swiglu,
    .interleaved = {},  // kernels.cc adds it
};

}  // namespace deepshock
