// SPDX-License-Identifier: Apache-2.0
#include "experts/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "tensor/codec.h"
#include "tensor/interleaved.h"

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
  std::vector<ExpertBatch> batches = {
      {&experts[0], {0, 2, 3}, {0, 5, 2}}, {&experts[1], {1}, {1}}, {&experts[2], {0, 1}, {3, 4}}};
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    Compute compute(ReferenceKernels(), pool);
    LocalExecutor executor;
    std::vector<float> y(6 * hidden, -99.0f);
    Activations rows(compute, x.values.data(), 4, hidden);
    executor.Run(compute, {}, batches, rows, y.data());
    for (size_t g = 0; g < batches.size(); ++g) {
      for (size_t i = 0; i < batches[g].rows.size(); ++i) {
        const auto expected =
            Expected(gates[g], ups[g], downs[g], x.values.data() + batches[g].rows[i] * hidden);
        for (int64_t h = 0; h < hidden; ++h) {
          EXPECT_NEAR(y[static_cast<size_t>(batches[g].slots[i] * hidden + h)],
                      expected[static_cast<size_t>(h)], 1e-3);
        }
      }
    }
  }
}

// A matrix as Q8_0 blocks, in rows and interleaved.
struct Quantised {
  Quantised(int64_t rows, int64_t cols, uint32_t seed) {
    const Owned floats = RandomMatrix(rows, cols, seed);
    in_rows = {DType::kQ8_0, rows, cols, nullptr, RowBytes(DType::kQ8_0, cols)};
    stored.resize(static_cast<size_t>(rows * in_rows.row_stride));
    for (int64_t r = 0; r < rows; ++r) {
      const std::span row(floats.values.data() + r * cols, static_cast<size_t>(cols));
      EXPECT_TRUE(EncodeRow(DType::kQ8_0, row, {}, stored.data() + r * in_rows.row_stride).ok());
    }
    in_rows.data = stored.data();
    interleaved = InterleavedShape(in_rows);
    packed.resize(static_cast<size_t>(InterleavedBytes(interleaved)));
    InterleaveRows(in_rows, 0, rows, packed.data());
    interleaved.data = packed.data();
  }
  std::vector<std::byte> stored, packed;
  Matrix in_rows, interleaved;
};

TEST(LocalExecutor, InterleavedExpertsAgreeWithStoredOnesAndWithThemselves) {
  const int64_t hidden = 64, tokens = 40;
  const int64_t widths[] = {96, 160, 32};
  std::vector<std::unique_ptr<Quantised>> matrices;
  std::vector<ExpertWeights> stored, interleaved;
  const Owned bias = RandomMatrix(1, 160, 77);
  for (uint32_t e = 0; e < 3; ++e) {
    for (uint32_t part = 0; part < 3; ++part) {
      const int64_t rows = part == 2 ? hidden : widths[e], cols = part == 2 ? widths[e] : hidden;
      matrices.push_back(std::make_unique<Quantised>(rows, cols, 3 * e + part));
    }
    Matrix gate_bias, down_bias;
    if (e == 1) {
      gate_bias = down_bias = bias.view;
      gate_bias.cols = widths[e];
      down_bias.cols = hidden;
    }
    const auto at = [&](uint32_t part) -> const Quantised& { return *matrices[3 * e + part]; };
    stored.push_back({at(0).in_rows, at(1).in_rows, at(2).in_rows, gate_bias, {}, down_bias});
    interleaved.push_back(
        {at(0).interleaved, at(1).interleaved, at(2).interleaved, gate_bias, {}, down_bias});
  }
  const Owned x = RandomMatrix(tokens, hidden, 1);
  // Expert 0 takes every token, 1 every third, 2 a single one; slots are scattered.
  const auto batches_of = [&](const std::vector<ExpertWeights>& experts) {
    std::vector<ExpertBatch> batches = {{&experts[0], {}, {}}, {&experts[1], {}, {}}, {&experts[2], {7}, {0}}};
    int32_t slot = 1;
    for (int32_t t = 0; t < tokens; ++t) {
      batches[0].rows.push_back(t);
      batches[0].slots.push_back(slot++);
      if (t % 3 != 0) continue;
      batches[1].rows.push_back(t);
      batches[1].slots.push_back(slot++);
    }
    return batches;
  };
  const auto run = [&](const Kernels& kernels, int threads, const std::vector<ExpertBatch>& batches) {
    ThreadPool pool(threads);
    Compute compute(kernels, pool);
    Activations rows(compute, x.values.data(), tokens, hidden);
    std::vector<float> y(static_cast<size_t>((1 + tokens + (tokens + 2) / 3) * hidden), NAN);
    LocalExecutor().Run(compute, {}, batches, rows, y.data());
    return y;
  };
  const std::vector<float> exact = run(BestKernels(), 2, batches_of(stored));
  for (const Kernels* kernels : AvailableKernels()) {
    const std::vector<float> first = run(*kernels, 1, batches_of(interleaved));
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(double{first[i]} - exact[i], 2);
      size += std::pow(double{exact[i]}, 2);
    }
    // A rounding to 8 bits errs by largest / (127 sqrt(12)) on average: 0.4 % of uniform inputs, which gate
    // and up share, and 0.8 % of their products, whose largest of 32 is some 3.5 times the average.
    EXPECT_LT(std::sqrt(error / size), 0.02) << kernels->name;
    EXPECT_GT(error, 0) << "the 8-bit path did not run";
    for (const int threads : {2, 5}) {
      const std::vector<float> again = run(*kernels, threads, batches_of(interleaved));
      EXPECT_EQ(std::memcmp(first.data(), again.data(), first.size() * sizeof(float)), 0);
    }
    // Token 7 alone in its batch is the same as among others.
    std::vector<ExpertBatch> alone = batches_of(interleaved);
    alone[0].rows = {7};
    alone[0].slots = {5};
    const size_t slot = static_cast<size_t>(batches_of(interleaved)[0].slots[7]);
    const std::vector<float> some = run(*kernels, 2, alone);
    EXPECT_EQ(std::memcmp(some.data() + 5 * hidden, first.data() + slot * static_cast<size_t>(hidden),
                          hidden * sizeof(float)),
              0);
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
