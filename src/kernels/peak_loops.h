// SPDX-License-Identifier: Apache-2.0
// The rooms' part of kernels/peak.h: one pair of loops for each instruction set.
#pragma once

#include <cstdint>

namespace deepshock {

// Run `rounds` rounds in registers; return the operations done. `sink` [16] receives what was computed.
int64_t PeakInt8Avx2(int64_t rounds, int32_t* sink);
int64_t PeakFloatAvx2(int64_t rounds, float* sink);
int64_t PeakInt8Avx512Vnni(int64_t rounds, int32_t* sink);
int64_t PeakFloatAvx512(int64_t rounds, float* sink);
int64_t PeakInt8Neon(int64_t rounds, int32_t* sink);
int64_t PeakFloatNeon(int64_t rounds, float* sink);

}  // namespace deepshock
