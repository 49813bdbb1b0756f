// SPDX-License-Identifier: Apache-2.0
#include "kernels/ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/test_matrix.h"

namespace deepshock {
namespace {

std::vector<float> Product(const Kernels& kernels, int num_threads, const Matrix& w, const Matrix& bias,
                           const std::vector<float>& x, int64_t num_tokens) {
  ThreadPool pool(num_threads);
  Compute compute(kernels, pool);
  std::vector<float> y(static_cast<size_t>(num_tokens * w.rows));
  MatMul(compute, w, bias, x.data(), num_tokens, y.data());
  return y;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(MatMul, DoesNotDependOnTheNumberOfThreads) {
  for (const Kernels* kernels : AvailableKernels()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ3_K}) {
      for (const int64_t rows : {1, 8, 300}) {
        const TestMatrix m(dtype, rows, 1280, 1);
        for (const int64_t num_tokens : {1, 9, 64}) {
          const std::vector<float> x = RandomFloats(num_tokens * m.view().cols, 2);
          const std::vector<float> alone = Product(*kernels, 1, m.view(), {}, x, num_tokens);
          for (const int num_threads : {2, 3, 5}) {
            EXPECT_TRUE(SameBits(alone, Product(*kernels, num_threads, m.view(), {}, x, num_tokens)))
                << kernels->name << " " << Name(dtype) << " N=" << rows << " T=" << num_tokens;
          }
        }
      }
    }
  }
}

TEST(MatMul, AddsTheBias) {
  const TestMatrix m(DType::kF32, 130, 1024, 3), bias(DType::kBF16, 1, 130, 4);
  const std::vector<float> offsets = DecodeVector(bias.view()), x = RandomFloats(5 * 1024, 5);
  const std::vector<float> without = Product(ReferenceKernels(), 1, m.view(), {}, x, 5);
  const std::vector<float> with = Product(ReferenceKernels(), 3, m.view(), bias.view(), x, 5);
  for (size_t i = 0; i < with.size(); ++i) EXPECT_EQ(with[i], without[i] + offsets[i % 130]);
}

TEST(MatMul, NoTokens) {
  const TestMatrix m(DType::kF32, 4, 8, 6);
  EXPECT_TRUE(Product(BestKernels(), 2, m.view(), {}, {}, 0).empty());
}

TEST(RmsNorm, EachTokenOnItsOwn) {
  constexpr int64_t kTokens = 200, kWidth = 640;
  const TestMatrix weight(DType::kBF16, 1, kWidth, 7);
  const std::vector<float> factors = DecodeVector(weight.view());
  std::vector<float> x = RandomFloats(kTokens * kWidth, 8), expected(x.size());
  const Kernels& kernels = BestKernels();
  for (int64_t t = 0; t < kTokens; ++t) {
    kernels.rms_norm(x.data() + t * kWidth, factors.data(), 1e-5f, kWidth, expected.data() + t * kWidth);
  }
  ThreadPool pool(3);
  Compute compute(kernels, pool);
  RmsNorm(compute, weight.view(), 1e-5f, x.data(), kTokens, x.data());
  EXPECT_TRUE(SameBits(x, expected));
}

}  // namespace
}  // namespace deepshock
