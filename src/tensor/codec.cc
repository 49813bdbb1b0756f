// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "tensor/codec_float.h"
#include "tensor/codec_fp8.h"
#include "tensor/codec_kquant.h"
#include "tensor/codec_legacy.h"
#include "tensor/codec_mxfp4.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

// Scales of the quantised types are F16, and no published weight comes near this.
constexpr float kLargestF16 = 65504;

template <typename Block>
void DecodeBlocks(const std::byte* data, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += Block::kElements, data += sizeof(Block)) {
    Block block;
    std::memcpy(&block, data, sizeof(block));
    DecodeBlock(block, out + i);
  }
}

template <float (*ToF32)(uint16_t)>
void DecodeHalves(const std::byte* data, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t half;
    std::memcpy(&half, data + i * 2, sizeof(half));
    out[i] = ToF32(half);
  }
}

void DecodeMxfp4SplitRow(const std::byte* nibbles, const std::byte* scales, int64_t n, float* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(nibbles);
  for (int64_t block = 0; block < n / 32; ++block) {
    DecodeMxfp4Split(bytes + block * 16, static_cast<uint8_t>(scales[block]), out + block * 32);
  }
}

template <typename Block>
void EncodeBlocks(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  constexpr int kElements = Block::kElements;
  for (size_t i = 0; i < values.size(); i += kElements, out += sizeof(Block)) {
    float weights[kElements];
    std::fill_n(weights, kElements, 1.0f);
    // A block of which nothing is known to matter is still written as well as it can be. Otherwise the mean
    // becomes 1, so that sums of weighted squares neither overflow nor vanish.
    if (!importance.empty()) {
      const std::span<const float> given = importance.subspan(i, kElements);
      const double sum = std::accumulate(given.begin(), given.end(), 0.0);
      for (int j = 0; j < kElements && sum > 0; ++j)
        weights[j] = static_cast<float>(given[j] * (kElements / sum));
    }
    Block block;
    EncodeBlock(values.data() + i, weights, &block);
    std::memcpy(out, &block, sizeof(block));
  }
}

template <uint16_t (*FromF32)(float)>
void EncodeHalves(std::span<const float> values, std::byte* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = FromF32(values[i]);
    std::memcpy(out + i * 2, &half, sizeof(half));
  }
}

// Largest magnitude that EncodeRow accepts.
float EncodeLimit(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kMxfp4:
      return std::numeric_limits<float>::max();
    case DType::kBF16:
      return std::bit_cast<float>(0x7F7F7FFFu);  // what is above rounds to infinity
    default:
      return kLargestF16;
  }
}

Status CheckInput(DType dtype, std::span<const float> values, std::span<const float> importance) {
  if (!CanEncode(dtype)) return Fail("expected a type that can be written, found {}", Name(dtype));
  const auto block = static_cast<size_t>(Info(dtype).block_elements);
  if (values.size() % block != 0) {
    return Fail("{}: expected a row of whole blocks of {} elements, found {}", Name(dtype), block,
                values.size());
  }
  const float limit = EncodeLimit(dtype);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return Fail("element {}: expected a finite value, found {}", i, values[i]);
    if (std::fabs(values[i]) > limit) {
      return Fail("element {}: expected at most {} for {}, found {}", i, limit, Name(dtype), values[i]);
    }
  }
  if (importance.empty()) return {};
  if (importance.size() != values.size()) {
    return Fail("expected {} importance weights, found {}", values.size(), importance.size());
  }
  for (size_t i = 0; i < importance.size(); ++i) {
    if (!std::isfinite(importance[i]) || importance[i] < 0) {
      return Fail("importance {}: expected a finite value of at least 0, found {}", i, importance[i]);
    }
  }
  return {};
}

void DecodeGatheredRow(const Matrix& m, int64_t row, float* out) {
  std::vector<std::byte> stored(static_cast<size_t>(m.row_stride));
  GatherInterleavedRow(m, row, stored.data());
  Matrix one = m;
  one.interleaved = false;
  one.rows = 1;
  one.data = stored.data();
  DecodeRow(one, 0, out);
}

}  // namespace

void DecodeRow(const Matrix& m, int64_t row, float* out) {
  DS_CHECK(row >= 0 && row < m.rows, "row outside the matrix");
  if (m.interleaved) return DecodeGatheredRow(m, row, out);
  const std::byte* data = m.Row(row);
  switch (m.dtype) {
    case DType::kF32:
      if (m.cols > 0) std::memcpy(out, data, static_cast<size_t>(m.cols) * sizeof(float));
      return;
    case DType::kF16:
      return DecodeHalves<F16ToF32>(data, m.cols, out);
    case DType::kBF16:
      return DecodeHalves<BF16ToF32>(data, m.cols, out);
    case DType::kF8E4M3: {
      DS_CHECK(m.scales != nullptr, "fp8 without block scales");
      const int64_t scale_row = (m.scale_row_offset + row) / kFp8BlockSize;
      return DecodeFp8Row(data, m.scales + scale_row * m.scale_row_stride, m.cols, out);
    }
    case DType::kMxfp4Split:
      DS_CHECK(m.scales != nullptr, "split mxfp4 without scales");
      return DecodeMxfp4SplitRow(data, m.scales + row * m.scale_row_stride, m.cols, out);
    case DType::kMxfp4:
      return DecodeBlocks<BlockMxfp4>(data, m.cols, out);
    case DType::kQ4_0:
      return DecodeBlocks<BlockQ4_0>(data, m.cols, out);
    case DType::kQ4_1:
      return DecodeBlocks<BlockQ4_1>(data, m.cols, out);
    case DType::kQ5_0:
      return DecodeBlocks<BlockQ5_0>(data, m.cols, out);
    case DType::kQ5_1:
      return DecodeBlocks<BlockQ5_1>(data, m.cols, out);
    case DType::kQ8_0:
      return DecodeBlocks<BlockQ8_0>(data, m.cols, out);
    case DType::kQ2_K:
      return DecodeBlocks<BlockQ2_K>(data, m.cols, out);
    case DType::kQ3_K:
      return DecodeBlocks<BlockQ3_K>(data, m.cols, out);
    case DType::kQ4_K:
      return DecodeBlocks<BlockQ4_K>(data, m.cols, out);
    case DType::kQ5_K:
      return DecodeBlocks<BlockQ5_K>(data, m.cols, out);
    case DType::kQ6_K:
      return DecodeBlocks<BlockQ6_K>(data, m.cols, out);
    case DType::kF64:
    case DType::kI64:
    case DType::kI32:
    case DType::kI16:
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      break;
  }
  DS_CHECK(false, "not a weight type");
}

bool CanEncode(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kMxfp4:
    case DType::kQ4_K:
    case DType::kQ6_K:
      return true;
    default:
      return false;
  }
}

Status EncodeRow(DType dtype, std::span<const float> values, std::span<const float> importance,
                 std::byte* out) {
  DS_RETURN_IF_ERROR(CheckInput(dtype, values, importance));
  switch (dtype) {
    case DType::kF32:
      if (!values.empty()) std::memcpy(out, values.data(), values.size_bytes());
      break;
    case DType::kF16:
      EncodeHalves<F32ToF16>(values, out);
      break;
    case DType::kBF16:
      EncodeHalves<F32ToBF16>(values, out);
      break;
    case DType::kQ8_0:
      EncodeBlocks<BlockQ8_0>(values, importance, out);
      break;
    case DType::kQ4_0:
      EncodeBlocks<BlockQ4_0>(values, importance, out);
      break;
    case DType::kMxfp4:
      EncodeBlocks<BlockMxfp4>(values, importance, out);
      break;
    case DType::kQ4_K:
      EncodeBlocks<BlockQ4_K>(values, importance, out);
      break;
    case DType::kQ6_K:
      EncodeBlocks<BlockQ6_K>(values, importance, out);
      break;
    default:
      DS_CHECK(false, "CanEncode and EncodeRow disagree");
  }
  return {};
}

}  // namespace deepshock
