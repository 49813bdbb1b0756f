// SPDX-License-Identifier: Apache-2.0
#include "kernels/neon/int_vector.h"
#include "kernels/isa.h"
#include "kernels/simd/interleaved_formats_inl.h"
#include "kernels/simd/interleaved_inl.h"

namespace deepshock {

constinit const InterleavedKernels kNeonInterleaved = {QuantizeRow, MatmulInterleaved};

}  // namespace deepshock
