// SPDX-License-Identifier: Apache-2.0
// The integer kernels of every table against exact sums, against each other bit for bit, and their promise
// that a row's result does not depend on what is computed with it.
#include "tensor/interleaved.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/ops.h"
#include "kernels/test_matrix.h"

namespace deepshock {
namespace {

constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ4_1,       DType::kQ5_0, DType::kQ5_1,
                            DType::kQ8_0, DType::kMxfp4,      DType::kQ2_K, DType::kQ3_K,
                            DType::kQ4_K, DType::kMxfp4Split, DType::kQ5_K, DType::kQ6_K};

struct Packed {
  explicit Packed(const Matrix& m) : view(InterleavedShape(m)) {
    bytes.resize(static_cast<size_t>(InterleavedBytes(view)));
    InterleaveRows(m, 0, m.rows, bytes.data());
    view.data = bytes.data();
  }
  std::vector<std::byte> bytes;
  Matrix view;
};

struct Quantized {
  Quantized(const Kernels& kernels, const std::vector<float>& x, int64_t rows, int64_t cols)
      : values(x.size()), scales(x.size() / 32) {
    view.num_rows = rows;
    view.num_blocks = cols / 32;
    view.values = values.data();
    view.scales = scales.data();
    for (int64_t t = 0; t < rows; ++t) {
      QuantizeBlocks(kernels, x.data() + t * cols, 0, view.num_blocks, t, view);
    }
  }
  float At(int64_t t, int64_t k) const {
    const int64_t block = view.BlockIndex(t) + k / 32 * view.PanelSize(t / kPanelRows);
    return scales[static_cast<size_t>(block)].scale *
           static_cast<float>(values[static_cast<size_t>(block * 32 + k % 32)]);
  }
  std::vector<int8_t> values;
  std::vector<BlockScale> scales;
  QuantizedRows view;
};

std::vector<float> Multiply(const Kernels& kernels, const Matrix& w, const Quantized& x) {
  std::vector<float> y(static_cast<size_t>(x.view.num_rows * w.rows), NAN);
  kernels.interleaved.matmul(w, 0, w.rows, x.view, nullptr, y.data(), w.rows);
  return y;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class InterleavedKernelsTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Result<const Kernels*> found = KernelsByName(GetParam());
    if (!found.ok()) GTEST_SKIP() << found.message();
    kernels_ = *found;
  }
  const Kernels* kernels_ = nullptr;
};

TEST_P(InterleavedKernelsTest, MatchesExactSumsForEveryType) {
  for (const DType dtype : kTypes) {
    for (const int64_t cols : {256, 1280}) {
      const int64_t rows = 39, tokens = 21;
      const TestMatrix stored(dtype, rows, cols, 11);
      const Packed w(stored.view());
      const std::vector<float> decoded = TestMatrix::Decoded(stored.view());
      const Quantized x(*kernels_, RandomFloats(tokens * cols, 5, -3, 3), tokens, cols);
      const std::vector<float> y = Multiply(*kernels_, w.view, x);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t n = 0; n < rows; ++n) {
          const float* weights = decoded.data() + n * cols;
          // A type with a minimum subtracts two numbers that are no larger than the row's largest weight.
          float largest = 0;
          for (int64_t k = 0; k < cols; ++k) largest = std::max(largest, std::fabs(weights[k]));
          double sum = 0, magnitude = 0;
          for (int64_t k = 0; k < cols; ++k) {
            sum += double{weights[k]} * x.At(t, k);
            magnitude += (std::fabs(weights[k]) + largest) * std::fabs(x.At(t, k));
          }
          // Reference: a rounding for each product and addition. Integer kernels: a few for each 16 columns.
          const double tolerance = magnitude * static_cast<double>(cols) * 0x1p-24;
          ASSERT_NEAR(y[static_cast<size_t>(t * rows + n)], sum, tolerance) << Name(dtype) << " row " << n;
        }
      }
    }
  }
}

TEST_P(InterleavedKernelsTest, ARowIsTheSameAloneAndInAnyBatch) {
  for (const DType dtype : kTypes) {
    const int64_t rows = 23, cols = 512, tokens = 37;
    const TestMatrix stored(dtype, rows, cols, 3);
    const Packed w(stored.view());
    const std::vector<float> x = RandomFloats(tokens * cols, 9);
    const std::vector<float> all = Multiply(*kernels_, w.view, Quantized(*kernels_, x, tokens, cols));
    for (const int64_t count : {1, 2, 3, 7, 15, 16, 20}) {
      const int64_t first = tokens - count;
      const std::vector<float> part(x.begin() + first * cols, x.end());
      const std::vector<float> some = Multiply(*kernels_, w.view, Quantized(*kernels_, part, count, cols));
      EXPECT_TRUE(SameBits(some, {all.begin() + first * rows, all.end()})) << Name(dtype) << " " << count;
    }
  }
}

// Every code the largest or the least, every activation +-127: sums that are kept in 16 bits must neither
// saturate nor wrap, which would be an error of an eighth.
TEST_P(InterleavedKernelsTest, TheLargestSumsAreExact) {
  for (const DType dtype : kTypes) {
    for (const uint8_t fill : {0x00, 0x77, 0x7F, 0x80, 0xFF}) {
      const int64_t rows = 16, cols = 256, tokens = 3;
      TestMatrix stored(dtype, rows, cols, 3);
      stored.FillCodes(static_cast<std::byte>(fill));
      const Packed w(stored.view());
      const std::vector<float> decoded = TestMatrix::Decoded(stored.view());
      float largest = 0;
      for (const float v : decoded) largest = std::max(largest, std::fabs(v));
      for (const float value : {2.0f, -2.0f}) {
        const std::vector<float> all(static_cast<size_t>(tokens * cols), value);
        const std::vector<float> y = Multiply(*kernels_, w.view, Quantized(*kernels_, all, tokens, cols));
        for (int64_t n = 0; n < rows; ++n) {
          double sum = 0;
          for (int64_t k = 0; k < cols; ++k)
            sum += double{decoded[static_cast<size_t>(n * cols + k)]} * value;
          for (int64_t t = 0; t < tokens; ++t) {
            ASSERT_NEAR(y[static_cast<size_t>(t * rows + n)], sum, 2 * largest * cols * 0x1p-12)
                << Name(dtype) << " " << int{fill};
          }
        }
      }
    }
  }
}

TEST_P(InterleavedKernelsTest, WritesOnlyItsRowsAndSlots) {
  const int64_t rows = 57, cols = 64, tokens = 5;
  const TestMatrix stored(DType::kQ8_0, rows, cols, 4);
  const Packed w(stored.view());
  const Quantized x(*kernels_, RandomFloats(tokens * cols, 2), tokens, cols);
  const std::vector<float> plain = Multiply(*kernels_, w.view, x);
  const int32_t slots[] = {4, 0, 9, 2, 7};
  for (const auto& [begin, end] : {std::pair{0, 16}, {16, 48}, {48, 57}}) {
    std::vector<float> y(static_cast<size_t>(10 * rows), 12345.0f);
    kernels_->interleaved.matmul(w.view, begin, end, x.view, slots, y.data(), rows);
    std::vector<float> expected(y.size(), 12345.0f);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t n = begin; n < end; ++n) {
        expected[static_cast<size_t>(slots[t] * rows + n)] = plain[static_cast<size_t>(t * rows + n)];
      }
    }
    EXPECT_TRUE(SameBits(y, expected)) << begin;
  }
}

TEST_P(InterleavedKernelsTest, QuantisesToTheNearestOf255Steps) {
  std::vector<float> x = RandomFloats(32 * 3, 8, -5, 5);
  std::fill_n(x.begin() + 32, 32, 0.0f);
  const Quantized q(*kernels_, x, 1, 96);
  for (int64_t k = 0; k < 96; ++k) {
    const float scale = q.scales[static_cast<size_t>(k / 32)].scale;
    EXPECT_NEAR(q.At(0, k), x[static_cast<size_t>(k)], scale * 0.5001f);
  }
  for (int b = 0; b < 3; ++b) {
    int sums[2] = {0, 0};
    for (int i = 0; i < 32; ++i) sums[i / 16] += q.values[static_cast<size_t>(b * 32 + i)];
    EXPECT_EQ(q.scales[static_cast<size_t>(b)].minus_sum_low, -sums[0]);
    EXPECT_EQ(q.scales[static_cast<size_t>(b)].minus_sum_high, -sums[1]);
    EXPECT_EQ(q.scales[static_cast<size_t>(b)].minus_sum, -sums[0] - sums[1]);
  }
}

TEST_P(InterleavedKernelsTest, ANanOrInfinityIsNotHidden) {
  const TestMatrix stored(DType::kQ4_0, 16, 96, 4);
  const Packed w(stored.view());
  for (const float bad : {NAN, INFINITY, -INFINITY, -NAN}) {
    for (const size_t at : {0u, 17u, 95u}) {
      std::vector<float> x = RandomFloats(96, 2);
      x[at] = bad;
      const Quantized q(*kernels_, x, 1, 96);
      for (const float v : Multiply(*kernels_, w.view, q)) EXPECT_FALSE(std::isfinite(v));
      for (size_t k = at / 32 * 32; k < at / 32 * 32 + 32; ++k) EXPECT_EQ(q.values[k], 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, InterleavedKernelsTest,
                         testing::ValuesIn(TestedTables({"reference", "avx2", "avx512", "avx512vnni"})),
                         [](const auto& p) { return std::string(p.param); });

TEST(InterleavedKernelsAcrossTables, VectorTablesAgreeBitForBit) {
  std::vector<const Kernels*> tables = AvailableKernels();
  tables.erase(tables.begin());  // the reference adds column by column
  if (tables.size() < 2) GTEST_SKIP() << "one vector table on this CPU";
  for (const DType dtype : kTypes) {
    const int64_t rows = 40, cols = 768, tokens = 19;
    const TestMatrix stored(dtype, rows, cols, 6);
    const Packed w(stored.view());
    const std::vector<float> x = RandomFloats(tokens * cols, 1);
    const std::vector<float> first = Multiply(*tables[0], w.view, Quantized(*tables[0], x, tokens, cols));
    for (const Kernels* table : tables) {
      EXPECT_TRUE(SameBits(first, Multiply(*table, w.view, Quantized(*table, x, tokens, cols))))
          << table->name << " " << Name(dtype);
    }
  }
}

// Tables of another architecture run on another machine; so the bits of all types' products are written down.
TEST(InterleavedKernelsAcrossTables, EveryArchitectureComputesTheSameBits) {
  std::vector<const Kernels*> tables = AvailableKernels();
  tables.erase(tables.begin());
  if (tables.empty()) GTEST_SKIP() << "no vector table on this CPU";
  for (const Kernels* table : tables) {
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (const DType dtype : kTypes) {
      const int64_t rows = 40, cols = 768, tokens = 19;
      const TestMatrix stored(dtype, rows, cols, 6);
      const Packed w(stored.view());
      const std::vector<float> x = RandomFloats(tokens * cols, 1);
      for (const float v : Multiply(*table, w.view, Quantized(*table, x, tokens, cols))) {
        uint32_t bits;
        std::memcpy(&bits, &v, sizeof(bits));
        hash = (hash ^ bits) * 0x100000001B3;
      }
    }
    EXPECT_EQ(hash, 0xBEBD3AD4D63903D9u) << table->name;
  }
}

}  // namespace
}  // namespace deepshock
