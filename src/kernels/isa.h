// SPDX-License-Identifier: Apache-2.0
// What passes between the instruction sets' rooms (avx2/, avx512/, neon/) and the code that every CPU runs.
// A room is compiled with its own flags, so nothing but its table may leave it: all else there has internal
// linkage, and it calls no inline function of a shared header. A weak symbol compiled with AVX could be the
// copy that the linker keeps for the whole program.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace deepshock {

// matmul_rows decodes this much of the weights at a time: the chunk of one row block stays in the L1 or L2
// cache. kChunkCols is a multiple of every format's block.
constexpr int64_t kBlockRows = 16;
constexpr int64_t kChunkCols = 1024;
// The decoded rows of a chunk begin on cache lines (in floats), an odd number of lines apart: at a
// multiple of 4096 bytes all of them would compete for one set of the L1 cache.
constexpr int64_t kScratchLine = 16;

// What the rooms fill; kernels.cc puts the tables together.
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;  // without `interleaved`
extern const InterleavedKernels kAvx2Interleaved;
extern const InterleavedKernels kAvx512VnniInterleaved;
extern const Kernels kNeonKernels;  // without `interleaved`
extern const InterleavedKernels kNeonInterleaved;

}  // namespace deepshock
