// SPDX-License-Identifier: Apache-2.0
// For tests: a stored matrix of any weight type with random content, at an odd address and with gaps between
// rows.
#pragma once

#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/codec.h"
#include "tensor/codec_float.h"
#include "tensor/codec_kquant.h"
#include "tensor/codec_legacy.h"
#include "tensor/matrix.h"

namespace deepshock {

inline constexpr DType kWeightTypes[] = {DType::kF32,   DType::kF16,        DType::kBF16, DType::kF8E4M3,
                                         DType::kMxfp4, DType::kMxfp4Split, DType::kQ4_0, DType::kQ4_1,
                                         DType::kQ5_0,  DType::kQ5_1,       DType::kQ8_0, DType::kQ2_K,
                                         DType::kQ3_K,  DType::kQ4_K,       DType::kQ5_K, DType::kQ6_K};

// The tables to test: this processor's; another architecture's are not built.
inline std::vector<const char*> TestedTables([[maybe_unused]] std::vector<const char*> on_x86) {
#if defined(__aarch64__)
  return {"reference", "neon"};
#else
  return on_x86;
#endif
}

class TestMatrix {
 public:
  TestMatrix(DType dtype, int64_t rows, int64_t cols, uint32_t seed) : random_(seed) {
    const int64_t row_bytes = RowBytes(dtype, cols);
    view_.dtype = dtype;
    view_.rows = rows;
    view_.cols = cols;
    view_.row_stride = row_bytes + 3;
    bytes_.resize(static_cast<size_t>(1 + rows * view_.row_stride));
    for (std::byte& b : bytes_) b = static_cast<std::byte>(random_());
    std::byte* data = bytes_.data() + 1;
    view_.data = data;
    for (int64_t row = 0; row < rows; ++row) FillRow(dtype, data + row * view_.row_stride, cols);
    if (dtype == DType::kMxfp4Split) FillSplitScales();
    if (dtype == DType::kF8E4M3) FillFp8Scales();
  }
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix& operator=(const TestMatrix&) = delete;

  const Matrix& view() const { return view_; }

  // Every byte that is not a scale.
  void FillCodes(std::byte value) {
    for (int64_t row = 0; row < view_.rows; ++row) {
      std::byte* data = bytes_.data() + 1 + row * view_.row_stride;
      std::memset(data, static_cast<int>(value), static_cast<size_t>(RowBytes(view_.dtype, view_.cols)));
      FillRow(view_.dtype, data, view_.cols);
    }
  }

  // Row by row through the codec: the truth.
  static std::vector<float> Decoded(const Matrix& m) {
    std::vector<float> out(static_cast<size_t>(m.rows * m.cols));
    for (int64_t row = 0; row < m.rows; ++row) DecodeRow(m, row, out.data() + row * m.cols);
    return out;
  }

 private:
  float Uniform() { return std::uniform_real_distribution<float>(-1, 1)(random_); }
  void PutF16(std::byte* at) {
    const uint16_t half = F32ToF16(0.1f * Uniform());
    std::memcpy(at, &half, sizeof(half));
  }

  // The bits may be anything, except that scales stay ordinary numbers.
  void FillRow(DType dtype, std::byte* row, int64_t cols) {
    const auto float_row = [&](auto encode) {
      for (int64_t k = 0; k < cols; ++k) {
        const auto v = encode(Uniform());
        std::memcpy(row + k * static_cast<int64_t>(sizeof(v)), &v, sizeof(v));
      }
    };
    const auto blocks = [&](std::initializer_list<size_t> scales) {
      const int64_t block_bytes = Info(dtype).block_bytes;
      for (int64_t at = 0; at < RowBytes(dtype, cols); at += block_bytes) {
        for (const size_t offset : scales) PutF16(row + at + offset);
      }
    };
    switch (dtype) {
      case DType::kF32:
        return float_row([](float v) { return v; });
      case DType::kF16:
        return float_row(F32ToF16);
      case DType::kBF16:
        return float_row(F32ToBF16);
      case DType::kF8E4M3:
        for (int64_t k = 0; k < cols; ++k) {
          if ((row[k] & std::byte{0x7F}) == std::byte{0x7F}) row[k] = std::byte{0};
        }
        return;
      case DType::kMxfp4:
        for (int64_t at = 0; at < RowBytes(dtype, cols); at += 17)
          row[at] = static_cast<std::byte>(115 + random_() % 12);
        return;
      case DType::kMxfp4Split:
        return;
      case DType::kQ4_0:
        return blocks({offsetof(BlockQ4_0, d)});
      case DType::kQ4_1:
        return blocks({offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m)});
      case DType::kQ5_0:
        return blocks({offsetof(BlockQ5_0, d)});
      case DType::kQ5_1:
        return blocks({offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m)});
      case DType::kQ8_0:
        return blocks({offsetof(BlockQ8_0, d)});
      case DType::kQ2_K:
        return blocks({offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)});
      case DType::kQ3_K:
        return blocks({offsetof(BlockQ3_K, d)});
      case DType::kQ4_K:
        return blocks({offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin)});
      case DType::kQ5_K:
        return blocks({offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin)});
      case DType::kQ6_K:
        return blocks({offsetof(BlockQ6_K, d)});
      default:
        DS_CHECK(false, "not a weight type");
    }
  }

  void FillSplitScales() {
    view_.scale_row_stride = view_.cols / 32 + 1;
    scales_.resize(static_cast<size_t>(view_.rows * view_.scale_row_stride));
    for (std::byte& b : scales_) b = static_cast<std::byte>(115 + random_() % 12);
    view_.scales = scales_.data();
  }
  void FillFp8Scales() {
    const int64_t scale_cols = (view_.cols + 127) / 128;
    view_.scale_row_stride = scale_cols * 4 + 1;
    scales_.resize(static_cast<size_t>((view_.rows + 127) / 128 * view_.scale_row_stride));
    for (int64_t row = 0; row < (view_.rows + 127) / 128; ++row) {
      for (int64_t col = 0; col < scale_cols; ++col) {
        const float scale = 0.01f + 0.01f * std::abs(Uniform());
        std::memcpy(scales_.data() + row * view_.scale_row_stride + col * 4, &scale, sizeof(scale));
      }
    }
    view_.scales = scales_.data();
  }

  std::mt19937 random_;
  Matrix view_;
  std::vector<std::byte> bytes_, scales_;
};

inline std::vector<float> RandomFloats(int64_t n, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = uniform(random);
  return values;
}

}  // namespace deepshock
