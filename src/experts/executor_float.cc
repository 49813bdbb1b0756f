// SPDX-License-Identifier: Apache-2.0
// Experts whose weights are as stored: rows are decoded to float32 and multiplied by float32 activations.
#include <cstring>

#include "experts/executor_tasks.h"

namespace deepshock {
namespace {

// Products from which on the threads share a phase: some times what handing work over takes.
constexpr int64_t kMinProducts = 1 << 15;

// y[:, begin..end) of one matrix over a batch's gathered rows, bias added.
void Product(Compute& compute, int thread, const Matrix& w, const std::vector<float>& bias,
             const ExpertTask& task, const float* x, int64_t num_rows, float* y) {
  compute.kernels->matmul_rows(w, task.begin, task.end, x, w.cols, num_rows, y, w.rows,
                               compute.Scratch(thread, MatMulScratch(w)));
  for (int64_t t = 0; t < num_rows; ++t) AddBias(bias, task.begin, task.end, y + t * w.rows + task.begin);
}

}  // namespace

void RunFloat(Compute& compute, const ExpertActivation& activation, const ExpertBatches& batches,
              const Activations& x, float* y) {
  const int64_t hidden = x.cols();
  struct Offsets {
    int64_t row, inner;  // of the batch's first row, in rows and in inner floats
  };
  std::vector<Offsets> offsets;
  std::vector<ExpertBiases> biases;
  int64_t num_rows = 0, num_inner = 0;
  for (const ExpertBatch* batch : batches) {
    offsets.push_back({num_rows, num_inner});
    num_rows += NumRows(*batch);
    num_inner += NumRows(*batch) * batch->weights->gate.rows;
    biases.emplace_back(*batch->weights);
  }
  BufferPool::Buffer<float> inputs = compute.buffers.Borrow<float>(num_rows * hidden);  // [rows, H], gathered
  BufferPool::Buffer<float> outputs = compute.buffers.Borrow<float>(num_rows * hidden);  // [rows, H]
  BufferPool::Buffer<float> gates = compute.buffers.Borrow<float>(num_inner);            // [rows, I]
  BufferPool::Buffer<float> ups = compute.buffers.Borrow<float>(num_inner);              // [rows, I]
  for (size_t g = 0; g < batches.size(); ++g) {
    float* to = inputs.data() + offsets[g].row * hidden;
    for (const int32_t row : batches[g]->rows) {
      std::memcpy(to, x.floats() + row * hidden, static_cast<size_t>(hidden) * sizeof(float));
      to += hidden;
    }
  }
  const int64_t blocks =
      std::max<int64_t>(1, 4 * compute.pool->num_threads() / static_cast<int64_t>(batches.size()));
  const auto grain_of = [blocks](int64_t rows) {
    return std::max<int64_t>(32, (rows + blocks - 1) / blocks);
  };
  const auto inner_grain = [&](const ExpertBatch& g) { return grain_of(g.weights->gate.rows); };
  RunTasks(compute, CutTasks(batches, &ExpertWeights::gate, inner_grain), kMinProducts,
           [&](const ExpertTask& task, int thread) {
             const auto g = static_cast<size_t>(task.batch);
             const ExpertWeights& w = *batches[g]->weights;
             const int64_t rows = NumRows(*batches[g]);
             const float* in = inputs.data() + offsets[g].row * hidden;
             float* gate = gates.data() + offsets[g].inner;
             float* up = ups.data() + offsets[g].inner;
             Product(compute, thread, w.gate, biases[g].gate, task, in, rows, gate);
             Product(compute, thread, w.up, biases[g].up, task, in, rows, up);
             for (int64_t t = 0; t < rows; ++t) {
               const int64_t at = t * w.gate.rows + task.begin;
               ApplyActivation(*compute.kernels, activation, gate + at, up + at, task.end - task.begin);
             }
           });
  const auto outer_grain = [&](const ExpertBatch& g) { return grain_of(g.weights->down.rows); };
  RunTasks(compute, CutTasks(batches, &ExpertWeights::down, outer_grain), kMinProducts,
           [&](const ExpertTask& task, int thread) {
             const auto g = static_cast<size_t>(task.batch);
             Product(compute, thread, batches[g]->weights->down, biases[g].down, task,
                     gates.data() + offsets[g].inner, NumRows(*batches[g]),
                     outputs.data() + offsets[g].row * hidden);
           });
  for (size_t g = 0; g < batches.size(); ++g) {
    const float* from = outputs.data() + offsets[g].row * hidden;
    for (const int32_t slot : batches[g]->slots) {
      std::memcpy(y + slot * hidden, from, static_cast<size_t>(hidden) * sizeof(float));
      from += hidden;
    }
  }
}

}  // namespace deepshock
