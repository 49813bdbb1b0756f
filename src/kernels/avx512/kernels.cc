// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/vector.h"
#include "kernels/simd/decode_inl.h"
#include "kernels/simd/matmul_inl.h"
#include "kernels/simd/vector_inl.h"

namespace deepshock {

constinit const Kernels kAvx512Kernels = {
    .name = "avx512",
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
