// SPDX-License-Identifier: Apache-2.0
#include "experts/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace deepshock {
namespace {

// Owns a float32 matrix and its view.
struct Owned {
  std::vector<float> values;
  Matrix view;
};

Owned RandomMatrix(int64_t rows, int64_t cols, uint32_t seed) {
  Owned m;
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (int64_t i = 0; i < rows * cols; ++i) m.values.push_back(uniform(rng));
  m.view = {DType::kF32, rows, cols, reinterpret_cast<const std::byte*>(m.values.data()),
            cols * static_cast<int64_t>(sizeof(float))};
  return m;
}

double Silu(double x) { return x / (1 + std::exp(-x)); }

// down(silu(gate x) * up x) in double.
std::vector<double> Expected(const Owned& gate, const Owned& up, const Owned& down, const float* x) {
  std::vector<double> inner(static_cast<size_t>(gate.view.rows)), out(static_cast<size_t>(down.view.rows), 0);
  const auto product = [&](const Owned& w, int64_t row, auto value) {
    double sum = 0;
    for (int64_t k = 0; k < w.view.cols; ++k)
      sum += double{w.values[static_cast<size_t>(row * w.view.cols + k)]} * value(k);
    return sum;
  };
  for (int64_t i = 0; i < gate.view.rows; ++i) {
    const auto input = [&](int64_t k) { return double{x[k]}; };
    inner[static_cast<size_t>(i)] = Silu(product(gate, i, input)) * product(up, i, input);
  }
  for (int64_t i = 0; i < down.view.rows; ++i) {
    out[static_cast<size_t>(i)] = product(down, i, [&](int64_t k) { return inner[static_cast<size_t>(k)]; });
  }
  return out;
}

TEST(LocalExecutor, ComputesEachExpertForItsRowsOnly) {
  const int64_t hidden = 24;
  const int64_t widths[] = {40, 8, 70};  // experts need not be alike
  std::vector<Owned> gates, ups, downs;
  std::vector<ExpertWeights> experts;
  for (uint32_t e = 0; e < 3; ++e) {
    gates.push_back(RandomMatrix(widths[e], hidden, 10 + e));
    ups.push_back(RandomMatrix(widths[e], hidden, 20 + e));
    downs.push_back(RandomMatrix(hidden, widths[e], 30 + e));
  }
  for (size_t e = 0; e < 3; ++e) experts.push_back({gates[e].view, ups[e].view, downs[e].view, {}, {}, {}});
  const Owned x = RandomMatrix(4, hidden, 1);
  std::vector<ExpertGroup> groups = {
      {&experts[0], {0, 2, 3}, {0, 5, 2}}, {&experts[1], {1}, {1}}, {&experts[2], {0, 1}, {3, 4}}};
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    Compute compute(ReferenceKernels(), pool);
    LocalExecutor executor;
    std::vector<float> y(6 * hidden, -99.0f);
    Activations rows(compute, x.values.data(), 4, hidden);
    executor.Run(compute, {}, groups, rows, y.data());
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t i = 0; i < groups[g].rows.size(); ++i) {
        const auto expected =
            Expected(gates[g], ups[g], downs[g], x.values.data() + groups[g].rows[i] * hidden);
        for (int64_t h = 0; h < hidden; ++h) {
          EXPECT_NEAR(y[static_cast<size_t>(groups[g].slots[i] * hidden + h)],
                      expected[static_cast<size_t>(h)], 1e-3);
        }
      }
    }
  }
}

TEST(Activation, ClampedFormReachesItsLimits) {
  // gpt-oss: g = min(gate, 7), u = clamp(up, -7, 7), (u + 1) g sigmoid(1.702 g). No golden set reaches the
  // clamp.
  const ExpertActivation activation{true, 7.0f, 1.702f};
  std::vector<float> gate = {100.0f, -100.0f, 2.0f, 7.5f};
  const std::vector<float> up = {50.0f, 3.0f, -50.0f, -1.0f};
  ApplyActivation(ReferenceKernels(), activation, gate.data(), up.data(), 4);
  const auto expected = [](double g, double u) { return (u + 1) * g / (1 + std::exp(-1.702 * g)); };
  EXPECT_NEAR(gate[0], expected(7, 7), 1e-4);
  EXPECT_NEAR(gate[1], expected(-100, 3), 1e-4);  // gate has no lower limit
  EXPECT_NEAR(gate[2], expected(2, -7), 1e-4);
  EXPECT_NEAR(gate[3], 0, 1e-6);
}

}  // namespace
}  // namespace deepshock
