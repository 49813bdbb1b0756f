// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec_fp8.h"

#include <algorithm>
#include <cstring>

#include "tensor/codec_float.h"

namespace deepshock {

void DecodeFp8Row(const std::byte* row, const std::byte* scales, int64_t cols, float* out) {
  for (int64_t begin = 0; begin < cols; begin += kFp8BlockSize, scales += sizeof(float)) {
    float scale;
    std::memcpy(&scale, scales, sizeof(scale));
    const int64_t end = std::min<int64_t>(cols, begin + kFp8BlockSize);
    for (int64_t i = begin; i < end; ++i) out[i] = F8E4M3ToF32(static_cast<uint8_t>(row[i])) * scale;
  }
}

}  // namespace deepshock
