// SPDX-License-Identifier: Apache-2.0
// Inside of LocalExecutor: what its two forms (float32 weights and activations as stored; interleaved weights
// and activations in 8 bits) share. Included by src/experts/executor*.cc only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/executor.h"

namespace deepshock {

using ExpertBatches = std::vector<const ExpertBatch*>;

inline int64_t NumRows(const ExpertBatch& batch) { return static_cast<int64_t>(batch.rows.size()); }

// One thread's share of a phase: output rows [begin, end) of one expert's matrix.
struct ExpertTask {
  int batch;
  int64_t begin, end;
  int64_t work;  // products: rows x outputs x inputs
};

// Cuts each batch's output rows of one matrix into blocks of `grain(batch)`; the largest tasks come first, so
// that the threads end together.
template <typename GrainOfGroup>
std::vector<ExpertTask> CutTasks(const ExpertBatches& batches, Matrix ExpertWeights::*matrix,
                                 const GrainOfGroup& grain) {
  std::vector<ExpertTask> tasks;
  for (size_t g = 0; g < batches.size(); ++g) {
    const Matrix& m = batches[g]->weights->*matrix;
    const int64_t block = grain(*batches[g]);
    for (int64_t begin = 0; begin < m.rows; begin += block) {
      const int64_t end = std::min(begin + block, m.rows);
      tasks.push_back({static_cast<int>(g), begin, end, (end - begin) * NumRows(*batches[g]) * m.cols});
    }
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const ExpertTask& a, const ExpertTask& b) { return a.work > b.work; });
  return tasks;
}

// Tasks stay on one thread where all of them are less than `min_shared` products. Otherwise threads take them
// in runs of an eighth of that: taking one costs little beside waking a thread, and few runs would leave one
// waiting for another that came late.
template <typename Body>
void RunTasks(Compute& compute, const std::vector<ExpertTask>& tasks, int64_t min_shared, const Body& body) {
  int64_t work = 0;
  for (const ExpertTask& task : tasks) work += task.work;
  const auto count = static_cast<int64_t>(tasks.size());
  const int64_t runs = work < min_shared ? 1 : std::clamp<int64_t>(8 * work / min_shared, 1, count);
  compute.pool->ParallelFor(count, (count + runs - 1) / runs, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) body(tasks[static_cast<size_t>(i)], thread);
  });
}

// Biases of an expert as float32; empty where it has none.
struct ExpertBiases {
  explicit ExpertBiases(const ExpertWeights& w)
      : gate(Decode(w.gate_bias)), up(Decode(w.up_bias)), down(Decode(w.down_bias)) {}
  std::vector<float> gate, up, down;

 private:
  static std::vector<float> Decode(const Matrix& m) { return m ? DecodeVector(m) : std::vector<float>(); }
};

// y[0 .. end - begin) += bias[begin .. end)
inline void AddBias(const std::vector<float>& bias, int64_t begin, int64_t end, float* y) {
  if (bias.empty()) return;
  for (int64_t n = begin; n < end; ++n) y[n - begin] += bias[static_cast<size_t>(n)];
}

// All of the expert's matrices are interleaved.
inline bool IsInterleaved(const ExpertWeights& w) {
  return w.gate.interleaved && w.up.interleaved && w.down.interleaved;
}

void RunFloat(Compute& compute, const ExpertActivation& activation, const ExpertBatches& batches,
              const Activations& x, float* y);
void RunInterleaved(Compute& compute, const ExpertActivation& activation, const ExpertBatches& batches,
                    Activations& x, float* y);

}  // namespace deepshock
