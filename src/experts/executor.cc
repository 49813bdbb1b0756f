// SPDX-License-Identifier: Apache-2.0
#include "experts/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace deepshock {
namespace {

// One thread's share of a phase: rows [begin, end) of one expert's matrix.
struct Task {
  int group;
  int64_t begin, end;
};

// Cuts each group's `rows(group)` output rows into blocks, so that few large or many small experts both fill
// the threads.
template <typename RowsOfGroup>
std::vector<Task> CutTasks(std::span<const ExpertGroup> groups, int num_threads, RowsOfGroup rows) {
  std::vector<Task> tasks;
  const int64_t blocks =
      std::max<int64_t>(1, 4 * num_threads / std::max<int64_t>(1, static_cast<int64_t>(groups.size())));
  for (size_t g = 0; g < groups.size(); ++g) {
    const int64_t n = rows(groups[g]);
    const int64_t block = std::max<int64_t>(32, (n + blocks - 1) / blocks);
    for (int64_t begin = 0; begin < n; begin += block) {
      tasks.push_back({static_cast<int>(g), begin, std::min(begin + block, n)});
    }
  }
  return tasks;
}

// y[:, begin..end) of one matrix over a group's gathered rows, bias added.
void Product(Compute& compute, int thread, const Matrix& w, const std::vector<float>& bias, const Task& task,
             const float* x, int64_t num_rows, float* y) {
  compute.kernels->matmul_rows(w, task.begin, task.end, x, w.cols, num_rows, y, w.rows,
                               compute.Scratch(thread, MatMulScratch(w)));
  if (bias.empty()) return;
  for (int64_t t = 0; t < num_rows; ++t) {
    for (int64_t n = task.begin; n < task.end; ++n) y[t * w.rows + n] += bias[static_cast<size_t>(n)];
  }
}

std::vector<float> DecodeBias(const Matrix& bias) { return bias ? DecodeVector(bias) : std::vector<float>(); }

}  // namespace

void ApplyActivation(const Kernels& kernels, const ExpertActivation& a, float* gate, const float* up,
                     int64_t n) {
  if (!a.clamped) {
    kernels.swiglu(gate, up, n, gate);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float g = std::min(gate[i], a.clamp_limit);
    const float u = std::clamp(up[i], -a.clamp_limit, a.clamp_limit);
    gate[i] = (u + 1.0f) * g / (1.0f + std::exp(-a.sigmoid_scale * g));
  }
}

void LocalExecutor::Run(Compute& compute, const ExpertActivation& activation,
                        std::span<const ExpertGroup> groups, const float* x, int64_t hidden, float* y) {
  if (groups.empty()) return;
  struct Offsets {
    int64_t row, inner;  // of the group's first row, in rows and in inner floats
  };
  std::vector<Offsets> offsets;
  struct Biases {
    std::vector<float> gate, up, down;
  };
  std::vector<Biases> biases;
  int64_t num_rows = 0, num_inner = 0;
  for (const ExpertGroup& group : groups) {
    offsets.push_back({num_rows, num_inner});
    num_rows += static_cast<int64_t>(group.rows.size());
    num_inner += static_cast<int64_t>(group.rows.size()) * group.weights->gate.rows;
    biases.push_back({DecodeBias(group.weights->gate_bias), DecodeBias(group.weights->up_bias),
                      DecodeBias(group.weights->down_bias)});
  }
  inputs_.resize(static_cast<size_t>(num_rows * hidden));
  outputs_.resize(static_cast<size_t>(num_rows * hidden));
  gate_.resize(static_cast<size_t>(num_inner));
  up_.resize(static_cast<size_t>(num_inner));
  for (size_t g = 0; g < groups.size(); ++g) {
    float* to = inputs_.data() + offsets[g].row * hidden;
    for (const int32_t row : groups[g].rows) {
      std::memcpy(to, x + row * hidden, static_cast<size_t>(hidden) * sizeof(float));
      to += hidden;
    }
  }

  const int num_threads = compute.pool->num_threads();
  const auto inner = CutTasks(groups, num_threads, [](const ExpertGroup& g) { return g.weights->gate.rows; });
  compute.pool->ParallelFor(static_cast<int64_t>(inner.size()), 1, [&](int64_t begin, int64_t, int thread) {
    const Task& task = inner[static_cast<size_t>(begin)];
    const auto g = static_cast<size_t>(task.group);
    const ExpertWeights& w = *groups[g].weights;
    const auto rows = static_cast<int64_t>(groups[g].rows.size());
    const float* in = inputs_.data() + offsets[g].row * hidden;
    float* gate = gate_.data() + offsets[g].inner;
    float* up = up_.data() + offsets[g].inner;
    Product(compute, thread, w.gate, biases[g].gate, task, in, rows, gate);
    Product(compute, thread, w.up, biases[g].up, task, in, rows, up);
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t at = t * w.gate.rows + task.begin;
      ApplyActivation(*compute.kernels, activation, gate + at, up + at, task.end - task.begin);
    }
  });
  const auto outer = CutTasks(groups, num_threads, [](const ExpertGroup& g) { return g.weights->down.rows; });
  compute.pool->ParallelFor(static_cast<int64_t>(outer.size()), 1, [&](int64_t begin, int64_t, int thread) {
    const Task& task = outer[static_cast<size_t>(begin)];
    const auto g = static_cast<size_t>(task.group);
    Product(compute, thread, groups[g].weights->down, biases[g].down, task, gate_.data() + offsets[g].inner,
            static_cast<int64_t>(groups[g].rows.size()), outputs_.data() + offsets[g].row * hidden);
  });
  for (size_t g = 0; g < groups.size(); ++g) {
    const float* from = outputs_.data() + offsets[g].row * hidden;
    for (const int32_t slot : groups[g].slots) {
      std::memcpy(y + slot * hidden, from, static_cast<size_t>(hidden) * sizeof(float));
      from += hidden;
    }
  }
}

}  // namespace deepshock
