// SPDX-License-Identifier: Apache-2.0
// Experts in the kernels' layout. A task of the first phase computes a block of gate and up for all of its
// expert's rows, applies the activation and leaves it in 8 bits, ready for the second phase; nothing of width
// I is written in float32.
#include <cstring>

#include "experts/executor_tasks.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

// Whether a batch's rows are all rows of x, in order: then x itself serves.
bool TakesAll(const ExpertBatch& batch, int64_t num_rows) {
  if (NumRows(batch) != num_rows) return false;
  for (int64_t i = 0; i < num_rows; ++i) {
    if (batch.rows[static_cast<size_t>(i)] != i) return false;
  }
  return true;
}

// to row i = from row rows[i]
void GatherRows(const QuantizedRows& from, const std::vector<int32_t>& rows, const QuantizedRows& to) {
  for (int64_t i = 0; i < to.num_rows; ++i) {
    const int64_t row = rows[static_cast<size_t>(i)];
    const int64_t from_step = from.PanelSize(row / kPanelRows), to_step = to.PanelSize(i / kPanelRows);
    int64_t source = from.BlockIndex(row), target = to.BlockIndex(i);
    for (int64_t b = 0; b < from.num_blocks; ++b, source += from_step, target += to_step) {
      std::memcpy(to.values + target * kQuantizedBlock, from.values + source * kQuantizedBlock,
                  kQuantizedBlock);
      to.scales[target] = from.scales[source];
    }
  }
}

struct Work {
  const ExpertBatch* expert;
  ExpertBiases biases;
  QuantizedBuffer gathered;  // unless x itself serves
  QuantizedRows input;       // [rows, H]
  QuantizedBuffer inner;     // [rows, I]
};

// Output rows of a task of the first phase: whole blocks of 32, and no more than leave gate and up of all the
// expert's rows in the L2 cache.
int64_t InnerGrain(const Matrix& w, int64_t num_rows, int num_threads) {
  constexpr int64_t kMostFloats = 64 << 10;
  const int64_t grain = std::min(InterleavedGrain(w, 2 * num_rows, num_threads), kMostFloats / num_rows);
  return std::max<int64_t>(1, grain / kQuantizedBlock) * kQuantizedBlock;
}

void GateAndUp(Compute& compute, int thread, const ExpertActivation& activation, const Work& batch,
               const ExpertTask& task) {
  const ExpertWeights& w = *batch.expert->weights;
  const InterleavedKernels& kernels = compute.kernels->interleaved;
  const int64_t rows = NumRows(*batch.expert), width = task.end - task.begin;
  float* gate = compute.Scratch(thread, 2 * rows * width);  // [rows, width]
  float* up = gate + rows * width;
  kernels.matmul(w.gate, task.begin, task.end, batch.input, nullptr, gate - task.begin, width);
  kernels.matmul(w.up, task.begin, task.end, batch.input, nullptr, up - task.begin, width);
  for (int64_t t = 0; t < rows; ++t) {
    AddBias(batch.biases.gate, task.begin, task.end, gate + t * width);
    AddBias(batch.biases.up, task.begin, task.end, up + t * width);
  }
  ApplyActivation(*compute.kernels, activation, gate, up, rows * width);
  for (int64_t t = 0; t < rows; ++t) {
    QuantizeBlocks(*compute.kernels, gate + t * width, task.begin / kQuantizedBlock, width / kQuantizedBlock,
                   t, batch.inner.rows());
  }
}

void Down(Compute& compute, const Work& batch, const ExpertTask& task, float* y) {
  const Matrix& w = batch.expert->weights->down;
  const std::vector<int32_t>& slots = batch.expert->slots;
  compute.kernels->interleaved.matmul(w, task.begin, task.end, batch.inner.rows(), slots.data(), y, w.rows);
  for (const int32_t slot : slots) {
    AddBias(batch.biases.down, task.begin, task.end, y + slot * w.rows + task.begin);
  }
}

}  // namespace

void RunInterleaved(Compute& compute, const ExpertActivation& activation, const ExpertBatches& batches,
                    Activations& x, float* y) {
  const QuantizedRows& all = x.Quantized();
  const int num_threads = compute.pool->num_threads();
  std::vector<Work> work;
  work.reserve(batches.size());
  for (const ExpertBatch* expert : batches) {
    Work batch{expert, ExpertBiases(*expert->weights), {}, all, {}};
    const int64_t rows = NumRows(*expert);
    if (!TakesAll(*expert, all.num_rows)) {
      batch.gathered = QuantizedBuffer(compute, rows, x.cols());
      batch.input = batch.gathered.rows();
    }
    batch.inner = QuantizedBuffer(compute, rows, expert->weights->gate.rows);
    work.push_back(std::move(batch));
  }
  compute.pool->ParallelFor(static_cast<int64_t>(work.size()), all.num_rows > 16 ? 1 : work.size(),
                            [&](int64_t begin, int64_t end, int) {
                              for (int64_t i = begin; i < end; ++i) {
                                const Work& batch = work[static_cast<size_t>(i)];
                                if (batch.input.values == all.values) continue;
                                GatherRows(all, batch.expert->rows, batch.input);
                              }
                            });
  const auto inner_grain = [&](const ExpertBatch& g) {
    return InnerGrain(g.weights->gate, NumRows(g), num_threads);
  };
  RunTasks(compute, CutTasks(batches, &ExpertWeights::gate, inner_grain), kMinIntegerProducts / 2,
           [&](const ExpertTask& task, int thread) {
             GateAndUp(compute, thread, activation, work[static_cast<size_t>(task.batch)], task);
           });
  const auto down_grain = [&](const ExpertBatch& g) {
    return InterleavedGrain(g.weights->down, NumRows(g), num_threads);
  };
  RunTasks(
      compute, CutTasks(batches, &ExpertWeights::down, down_grain), kMinIntegerProducts,
      [&](const ExpertTask& task, int) { Down(compute, work[static_cast<size_t>(task.batch)], task, y); });
}

}  // namespace deepshock
