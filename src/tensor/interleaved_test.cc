// SPDX-License-Identifier: Apache-2.0
#include "tensor/interleaved.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tensor/codec.h"

namespace deepshock {
namespace {

constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ4_1,  DType::kQ5_0, DType::kQ5_1,
                            DType::kQ8_0, DType::kMxfp4, DType::kQ2_K, DType::kQ3_K,
                            DType::kQ4_K, DType::kQ5_K,  DType::kQ6_K};

// Random bytes at an odd address with a gap between rows.
struct Stored {
  Stored(DType dtype, int64_t rows, int64_t cols) {
    view.dtype = dtype;
    view.rows = rows;
    view.cols = cols;
    view.row_stride = RowBytes(dtype, cols) + 5;
    bytes.resize(static_cast<size_t>(1 + rows * view.row_stride));
    std::mt19937 random(7);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    view.data = bytes.data() + 1;
  }
  std::vector<std::byte> bytes;
  Matrix view;
};

struct Interleaved {
  explicit Interleaved(const Matrix& m) : view(InterleavedShape(m)) {
    bytes.resize(static_cast<size_t>(InterleavedBytes(view)), std::byte{0xAA});
    InterleaveRows(m, 0, m.rows, bytes.data());
    view.data = bytes.data();
  }
  std::vector<std::byte> bytes;
  Matrix view;
};

TEST(Interleaved, KeepsEveryBitOfEveryType) {
  for (const DType dtype : kTypes) {
    for (const int64_t rows : {1, 16, 39}) {
      const Stored stored(dtype, rows, 512);
      ASSERT_TRUE(CanInterleave(stored.view)) << Name(dtype);
      const Interleaved m(stored.view);
      EXPECT_EQ(m.bytes.size(), static_cast<size_t>((rows + 15) / 16 * 16 * RowBytes(dtype, 512)));
      std::vector<std::byte> row(static_cast<size_t>(m.view.row_stride));
      for (int64_t r = 0; r < rows; ++r) {
        GatherInterleavedRow(m.view, r, row.data());
        EXPECT_EQ(std::memcmp(row.data(), stored.view.Row(r), row.size()), 0) << Name(dtype) << " row " << r;
      }
    }
  }
}

TEST(Interleaved, GroupsAreIndependentAndCanBeCut) {
  const Stored stored(DType::kQ5_0, 48, 96);
  const Interleaved whole(stored.view);
  std::vector<std::byte> part(static_cast<size_t>(16 * whole.view.row_stride));
  InterleaveRows(stored.view, 16, 32, part.data());
  EXPECT_EQ(std::memcmp(part.data(), whole.bytes.data() + part.size(), part.size()), 0);
  const Matrix cut = RowsOf(whole.view, 16, 20);
  std::vector<std::byte> row(static_cast<size_t>(cut.row_stride));
  GatherInterleavedRow(cut, 19, row.data());
  EXPECT_EQ(std::memcmp(row.data(), stored.view.Row(35), row.size()), 0);
}

TEST(Interleaved, LastGroupIsPaddedWithZeros) {
  const Stored stored(DType::kQ8_0, 3, 32);
  const Interleaved m(stored.view);
  for (int64_t r = 3; r < 16; ++r) {
    for (int u = 0; u < 2; ++u) EXPECT_EQ(m.bytes[static_cast<size_t>(r * 2 + u)], std::byte{0});
    for (int u = 0; u < 4; ++u) EXPECT_EQ(m.bytes[static_cast<size_t>(32 + r * 4 + u)], std::byte{0});
  }
}

TEST(Interleaved, DecodesLikeTheStoredMatrix) {
  const Stored stored(DType::kMxfp4, 20, 64);  // no NaN among E8M0 scales but 255
  const Interleaved m(stored.view);
  std::vector<float> a(64), b(64);
  for (int64_t r = 0; r < 20; ++r) {
    DecodeRow(stored.view, r, a.data());
    DecodeRow(m.view, r, b.data());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
  }
}

TEST(Interleaved, TakesGptOssSplitTensors) {
  Stored stored(DType::kMxfp4Split, 18, 64);
  std::vector<std::byte> scales(18 * 3);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<std::byte>(120 + i % 9);
  stored.view.scales = scales.data();
  stored.view.scale_row_stride = 3;
  const Interleaved m(stored.view);
  EXPECT_EQ(m.view.dtype, DType::kMxfp4);
  std::vector<float> a(64), b(64);
  for (int64_t r = 0; r < 18; ++r) {
    DecodeRow(stored.view, r, a.data());
    DecodeRow(m.view, r, b.data());
    EXPECT_EQ(a, b);
  }
}

TEST(Interleaved, FloatTypesAndRaggedRowsStayAsTheyAre) {
  EXPECT_FALSE(CanInterleave(Stored(DType::kBF16, 16, 64).view));
  EXPECT_FALSE(CanInterleave(Stored(DType::kF32, 16, 64).view));
  EXPECT_FALSE(CanInterleave(Interleaved(Stored(DType::kQ4_0, 16, 64).view).view));
  EXPECT_FALSE(CanInterleave(Matrix{}));
}

}  // namespace
}  // namespace deepshock
