// SPDX-License-Identifier: Apache-2.0
// Every table against exact (float64) sums and against the codec, and the promises of kernels.h: one order of
// additions whatever is computed together, and scratch no larger than MatMulScratch says.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/test_matrix.h"

namespace deepshock {
namespace {

// Unit roundoff of float32. A sum of n products, in whatever order and fused or not, is within n u of the sum
// of the products' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1; n u is
// far below 1).
constexpr double kUnit = 0x1p-24;

struct Exact {
  double sum = 0, magnitude = 0;
};
Exact ExactDot(const float* a, const float* b, int64_t n) {
  Exact e;
  for (int64_t k = 0; k < n; ++k) {
    const double p = double{a[k]} * b[k];
    e.sum += p;
    e.magnitude += std::fabs(p);
  }
  return e;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Sizes that meet every path: below, at and past vectors, tiles and chunks.
std::vector<int64_t> ColsFor(DType dtype) {
  const int64_t block = Info(dtype).block_elements;
  if (block == 1) return {1, 7, 16, 17, 100, 160, 1024, 1029, 2081};
  if (block == 32) return {32, 96, 1024, 1056, 2080};
  return {256, 1024, 1280, 2304};
}

struct Case {
  const char* kernels;
  DType dtype;
};

// Skips, by name, a table that this CPU does not run.
class TableTest : public testing::Test {
 protected:
  void Use(const char* name) {
    const Result<const Kernels*> found = KernelsByName(name);
    if (!found.ok()) GTEST_SKIP() << found.message();
    kernels_ = *found;
    ASSERT_EQ(kernels_->name, name);
  }
  std::vector<float> Multiply(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x,
                              int64_t x_stride, int64_t num_tokens) {
    constexpr float kCanary = 12345;
    std::vector<float> y(static_cast<size_t>(num_tokens * w.rows), kCanary);
    std::vector<float> scratch(static_cast<size_t>(MatMulScratch(w)));  // AddressSanitizer watches its end
    kernels_->matmul_rows(w, row_begin, row_end, x, x_stride, num_tokens, y.data(), w.rows, scratch.data());
    for (int64_t t = 0; t < num_tokens; ++t) {
      for (int64_t n = 0; n < w.rows; ++n) {
        if (n >= row_begin && n < row_end) continue;
        EXPECT_EQ(y[static_cast<size_t>(t * w.rows + n)], kCanary);
      }
    }
    return y;
  }
  const Kernels* kernels_ = nullptr;
};

class WeightKernels : public TableTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override { Use(GetParam().kernels); }
  DType dtype() const { return GetParam().dtype; }

  void ExpectProducts(const Matrix& w, int64_t num_tokens) {
    const int64_t x_stride = w.cols + 5;
    // Of exactly the length that is needed: reading past the last token is seen by AddressSanitizer.
    const std::vector<float> x = RandomFloats((num_tokens - 1) * x_stride + w.cols, 7);
    const std::vector<float> weights = TestMatrix::Decoded(w);
    const std::vector<float> y = Multiply(w, 0, w.rows, x.data(), x_stride, num_tokens);
    for (int64_t t = 0; t < num_tokens; ++t) {
      for (int64_t n = 0; n < w.rows; ++n) {
        const Exact e = ExactDot(x.data() + t * x_stride, weights.data() + n * w.cols, w.cols);
        ASSERT_NEAR(y[static_cast<size_t>(t * w.rows + n)], e.sum,
                    kUnit * static_cast<double>(w.cols) * e.magnitude)
            << Name(w.dtype) << " K=" << w.cols << " N=" << w.rows << " t=" << t << " n=" << n;
      }
    }
  }
  void ExpectSameValues(const Matrix& w) {
    const std::vector<float> expected = TestMatrix::Decoded(w);
    std::vector<float> found(static_cast<size_t>(w.cols));
    for (int64_t row = 0; row < w.rows; ++row) {
      kernels_->decode_row(w, row, found.data());
      for (int64_t k = 0; k < w.cols; ++k) {
        const float e = expected[static_cast<size_t>(row * w.cols + k)], f = found[static_cast<size_t>(k)];
        ASSERT_TRUE(e == f || (std::isnan(e) && std::isnan(f)))
            << Name(w.dtype) << " row " << row << " column " << k << ": " << e << " and " << f;
      }
    }
  }
};

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.kernels) + "_" + std::string(Name(info.param.dtype));
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const char* kernels : TestedTables({"reference", "avx2", "avx512"})) {
    for (const DType dtype : kWeightTypes) cases.push_back({kernels, dtype});
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(All, WeightKernels, testing::ValuesIn(AllCases()), CaseName);

TEST_P(WeightKernels, DecodesAsTheCodecDoes) {
  for (const int64_t cols : ColsFor(dtype())) {
    const TestMatrix m(dtype(), 3, cols, static_cast<uint32_t>(cols));
    ExpectSameValues(m.view());
  }
}

TEST_P(WeightKernels, MatmulIsWithinItsErrorBound) {
  for (const int64_t cols : ColsFor(dtype())) {
    for (const int64_t rows : {1, 6, 21}) {
      const TestMatrix m(dtype(), rows, cols, static_cast<uint32_t>(cols + rows));
      for (const int64_t num_tokens : {1, 2, 3, 4, 5, 6, 13}) ExpectProducts(m.view(), num_tokens);
    }
  }
}

TEST_P(WeightKernels, ResultDoesNotDependOnWhatIsComputedTogether) {
  for (const int64_t cols : ColsFor(dtype())) {
    const TestMatrix m(dtype(), 37, cols, 3);
    const Matrix& w = m.view();
    constexpr int64_t kTokens = 11;
    const std::vector<float> x = RandomFloats(kTokens * cols, 5);
    const std::vector<float> together = Multiply(w, 0, w.rows, x.data(), cols, kTokens);
    for (int64_t t = 0; t < kTokens; ++t) {
      const std::vector<float> alone = Multiply(w, 0, w.rows, x.data() + t * cols, cols, 1);
      const auto begin = together.begin() + t * w.rows;
      ASSERT_TRUE(SameBits(alone, std::vector<float>(begin, begin + w.rows))) << "K=" << cols << " t=" << t;
    }
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 4}, {5, 23}, {30, 37}}) {
      for (const int64_t num_tokens : {int64_t{1}, int64_t{2}, kTokens}) {
        const std::vector<float> part = Multiply(w, begin, end, x.data(), cols, num_tokens);
        for (int64_t t = 0; t < num_tokens; ++t) {
          for (int64_t n = begin; n < end; ++n) {
            const auto at = static_cast<size_t>(t * w.rows + n);
            ASSERT_EQ(part[at], together[at]) << "K=" << cols << " t=" << t << " n=" << n;
          }
        }
      }
    }
  }
}

TEST_P(WeightKernels, RowViews) {
  const int64_t cols = Info(dtype()).block_elements == 1 ? 300 : 512;
  const TestMatrix m(dtype(), 300, cols, 9);
  // For fp8 these cross the 128-row blocks of scales in the middle of a block of rows.
  ExpectSameValues(RowsOf(m.view(), 100, 150));
  ExpectProducts(RowsOf(m.view(), 100, 150), 1);
  ExpectProducts(RowsOf(m.view(), 123, 40), 7);
  ExpectSameValues(RowsOf(RowsOf(m.view(), 100, 150), 25, 30));
  if (dtype() == DType::kF8E4M3) return;
  for (const int64_t first : {0, 1}) {
    const Matrix w = EverySecondRow(RowsOf(m.view(), 10, 31), first);
    ExpectSameValues(w);
    ExpectProducts(w, 1);
    ExpectProducts(w, 4);
  }
}

TEST_P(WeightKernels, TransposedProduct) {
  for (const int64_t cols : ColsFor(dtype())) {
    const TestMatrix m(dtype(), 13, cols, 4);
    const Matrix& w = m.view();
    const std::vector<float> weights = TestMatrix::Decoded(w), x = RandomFloats(w.rows, 6);
    std::vector<float> y(static_cast<size_t>(cols), 99), scratch(static_cast<size_t>(cols));
    kernels_->matvec_transposed(w, x.data(), y.data(), scratch.data());
    for (int64_t k = 0; k < cols; ++k) {
      Exact e;
      for (int64_t n = 0; n < w.rows; ++n) {
        const double p = double{x[static_cast<size_t>(n)]} * weights[static_cast<size_t>(n * cols + k)];
        e.sum += p;
        e.magnitude += std::fabs(p);
      }
      ASSERT_NEAR(y[static_cast<size_t>(k)], e.sum, kUnit * static_cast<double>(w.rows) * e.magnitude);
    }
  }
}

// Every bit pattern of the formats that have few.
TEST_P(WeightKernels, DecodesEveryPattern) {
  Matrix w;
  w.dtype = dtype();
  w.rows = 1;
  std::vector<uint8_t> bytes, scales;
  if (dtype() == DType::kF16 || dtype() == DType::kBF16) {
    w.cols = 65536;
    bytes.resize(2 * 65536);
    for (size_t i = 0; i < 65536; ++i) {
      bytes[2 * i] = static_cast<uint8_t>(i);
      bytes[2 * i + 1] = static_cast<uint8_t>(i >> 8);
    }
  } else if (dtype() == DType::kF8E4M3) {
    w.cols = 256;
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<uint8_t>(i));
    const float block_scales[2] = {0.37f, 1.9f};
    scales.resize(sizeof(block_scales));
    std::memcpy(scales.data(), block_scales, sizeof(block_scales));
  } else if (dtype() == DType::kMxfp4 || dtype() == DType::kMxfp4Split) {
    w.cols = 256 * 32;
    for (int e = 0; e < 256; ++e) {
      (dtype() == DType::kMxfp4 ? bytes : scales).push_back(static_cast<uint8_t>(e));
      for (int i = 0; i < 16; ++i) bytes.push_back(static_cast<uint8_t>(i | (15 - i) << 4));
    }
  } else {
    return;
  }
  w.data = reinterpret_cast<const std::byte*>(bytes.data());
  w.row_stride = static_cast<int64_t>(bytes.size());
  if (!scales.empty()) w.scales = reinterpret_cast<const std::byte*>(scales.data());
  w.scale_row_stride = static_cast<int64_t>(scales.size());
  ExpectSameValues(w);
}

class VectorKernels : public TableTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { Use(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(All, VectorKernels, testing::ValuesIn(TestedTables({"reference", "avx2", "avx512"})),
                         [](const testing::TestParamInfo<const char*>& table) {
                           return std::string(table.param);
                         });

constexpr int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 67, 128, 576, 1001};

TEST_P(VectorKernels, DotAndAxpy) {
  for (const int64_t n : kSizes) {
    const std::vector<float> a = RandomFloats(n, 1), b = RandomFloats(n, 2);
    const Exact e = ExactDot(a.data(), b.data(), n);
    EXPECT_NEAR(kernels_->dot(a.data(), b.data(), n), e.sum, kUnit * static_cast<double>(n) * e.magnitude)
        << n;
    std::vector<float> y = b;
    kernels_->axpy(0.7f, a.data(), y.data(), n);
    for (size_t k = 0; k < y.size(); ++k) {
      const double product = double{0.7f} * a[k];
      ASSERT_NEAR(y[k], b[k] + product, 2 * kUnit * (std::fabs(product) + std::fabs(b[k]))) << n;
    }
  }
}

TEST_P(VectorKernels, RmsNorm) {
  for (const int64_t n : kSizes) {
    const std::vector<float> x = RandomFloats(n, 3), weight = RandomFloats(n, 4);
    constexpr float kEps = 1e-6f;
    const double scale =
        1 / std::sqrt(ExactDot(x.data(), x.data(), n).sum / static_cast<double>(n) + double{kEps});
    std::vector<float> y(x.size()), in_place = x;
    kernels_->rms_norm(x.data(), weight.data(), kEps, n, y.data());
    kernels_->rms_norm(in_place.data(), weight.data(), kEps, n, in_place.data());
    for (size_t k = 0; k < y.size(); ++k) {
      const double expected = x[k] * scale * weight[k];
      // The sum's n roundings count half under the root; six more follow.
      ASSERT_NEAR(y[k], expected, kUnit * (static_cast<double>(n) / 2 + 6) * std::fabs(expected)) << n;
    }
    EXPECT_TRUE(SameBits(y, in_place));
  }
}

TEST_P(VectorKernels, Softmax) {
  for (const int64_t n : kSizes) {
    for (const float shift : {0.0f, 1e4f, -1e4f}) {
      std::vector<float> x = RandomFloats(n, 5, -20 + shift, 20 + shift);
      if (n > 4) x[2] = -std::numeric_limits<float>::infinity();
      const double max = *std::max_element(x.begin(), x.end());
      std::vector<double> expected;
      double sum = 0;
      for (const float v : x) {
        expected.push_back(std::exp(v - max));
        sum += expected.back();
      }
      kernels_->softmax(x.data(), n);
      // 2 ulp of the exponential, 40 from rounding an argument of at most 40, n from the sum, 2 from the
      // division.
      const double tolerance = kUnit * (44 + 2 + static_cast<double>(n));
      for (size_t k = 0; k < x.size(); ++k) {
        ASSERT_NEAR(x[k], expected[k] / sum, tolerance * expected[k] / sum) << n << " at " << k;
      }
    }
  }
  std::vector<float> far = {0, -87, -95, -200, -std::numeric_limits<float>::infinity()};
  kernels_->softmax(far.data(), 5);
  EXPECT_EQ(far[0], 1);
  EXPECT_NEAR(far[1], std::exp(-87.0), 1e-42);
  EXPECT_NEAR(far[2], std::exp(-95.0), 1e-44);  // subnormal
  EXPECT_EQ(far[3], 0);
  EXPECT_EQ(far[4], 0);
}

TEST_P(VectorKernels, Swiglu) {
  for (const int64_t n : kSizes) {
    const std::vector<float> gate = RandomFloats(n, 6, -30, 30), up = RandomFloats(n, 7);
    std::vector<float> out(gate.size()), in_place = gate;
    kernels_->swiglu(gate.data(), up.data(), n, out.data());
    kernels_->swiglu(in_place.data(), up.data(), n, in_place.data());
    for (size_t k = 0; k < out.size(); ++k) {
      const double expected = gate[k] / (1 + std::exp(-double{gate[k]})) * up[k];
      ASSERT_NEAR(out[k], expected, 10 * kUnit * std::fabs(expected)) << n;
    }
    EXPECT_TRUE(SameBits(out, in_place));
  }
  const std::vector<float> gate = {-1e30f, -200, 200, 0}, up = {1, 1, 1, 1};
  std::vector<float> out(4);
  kernels_->swiglu(gate.data(), up.data(), 4, out.data());
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(out[2], 200);
  EXPECT_EQ(out[3], 0);
}

TEST_P(VectorKernels, NanIsNotHidden) {
  std::vector<float> x = RandomFloats(40, 8), weight = RandomFloats(40, 9);
  x[19] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(kernels_->dot(x.data(), weight.data(), 40)));
  std::vector<float> y(40);
  kernels_->rms_norm(x.data(), weight.data(), 1e-5f, 40, y.data());
  EXPECT_TRUE(std::isnan(y[0]));
  kernels_->swiglu(x.data(), weight.data(), 40, y.data());
  EXPECT_TRUE(std::isnan(y[19]));
}

TEST(KernelTables, Names) {
  const std::vector<const Kernels*> available = AvailableKernels();
  ASSERT_FALSE(available.empty());
  EXPECT_EQ(available.front(), &ReferenceKernels());
  EXPECT_EQ(available.back(), &BestKernels());
  for (const Kernels* kernels : available) {
    const Result<const Kernels*> found = KernelsByName(kernels->name);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, kernels);
  }
  const Result<const Kernels*> unknown = KernelsByName("sse9");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.message().find("\"sse9\""), std::string::npos);
  EXPECT_NE(unknown.message().find("reference"), std::string::npos);
}

}  // namespace
}  // namespace deepshock
