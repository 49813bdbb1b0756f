// SPDX-License-Identifier: Apache-2.0
#include "kernels/ops.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/codec.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

// Multiplications in a task, at least: some microseconds of work, against the one or two that handing it over
// costs.
constexpr int64_t kMinTaskProducts = 1 << 16;
// Ranges for each thread: enough that a thread which is late or slow is helped out by the others.
constexpr int64_t kTasksPerThread = 8;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows of W in a task.
int64_t RowGrain(const Matrix& w, int64_t num_tokens, int num_threads) {
  const int64_t worthwhile = CeilDiv(kMinTaskProducts, std::max<int64_t>(1, w.cols * num_tokens));
  const int64_t fair = CeilDiv(w.rows, num_threads * kTasksPerThread);
  // Kernels take rows in blocks of 16; where there are too few for that, every thread still gets a share.
  const int64_t blocks = CeilDiv(fair, 16) * 16;
  return std::max(worthwhile, std::min(blocks, CeilDiv(w.rows, num_threads)));
}

void AddBias(const std::vector<float>& bias, int64_t begin, int64_t end, int64_t num_tokens, int64_t stride,
             float* y) {
  if (bias.empty()) return;
  for (int64_t t = 0; t < num_tokens; ++t) {
    for (int64_t n = begin; n < end; ++n) y[t * stride + n] += bias[static_cast<size_t>(n)];
  }
}

}  // namespace

int64_t InterleavedGrain(const Matrix& w, int64_t num_tokens, int num_threads) {
  constexpr int64_t kMaxTaskBytes = 256 << 10;
  const int64_t worthwhile = CeilDiv(kMinTaskProducts, std::max<int64_t>(1, w.cols * num_tokens));
  const int64_t fair = CeilDiv(w.rows, num_threads * kTasksPerThread);
  const int64_t rows =
      std::min(std::max(worthwhile, fair), std::max<int64_t>(16, kMaxTaskBytes / w.row_stride));
  return CeilDiv(rows, kInterleavedRows) * kInterleavedRows;
}

void QuantizeBlocks(const Kernels& kernels, const float* x, int64_t first_block, int64_t num_blocks,
                    int64_t row, const QuantizedRows& to) {
  const int64_t step = to.PanelSize(row / kPanelRows);
  const int64_t at = to.BlockIndex(row) + first_block * step;
  kernels.interleaved.quantize_row(x, num_blocks, step, to.values + at * kQuantizedBlock, to.scales + at);
}

QuantizedRows QuantizeOnThread(Compute& compute, int thread, const float* x, int64_t stride, int64_t num_rows,
                               int64_t cols) {
  DS_CHECK(cols % kQuantizedBlock == 0, "whole blocks");
  const int64_t num_blocks = cols / kQuantizedBlock;
  constexpr int64_t kScaleFloats = sizeof(BlockScale) / sizeof(float);
  float* memory = compute.Scratch(thread, num_rows * (cols / 4 + num_blocks * kScaleFloats));
  const QuantizedRows rows{num_rows, num_blocks, reinterpret_cast<int8_t*>(memory),
                           reinterpret_cast<BlockScale*>(memory + num_rows * cols / 4)};
  for (int64_t t = 0; t < num_rows; ++t) {
    QuantizeBlocks(*compute.kernels, x + t * stride, 0, num_blocks, t, rows);
  }
  return rows;
}

const QuantizedRows& Activations::Quantized() {
  if (is_quantized_) return quantized_.rows();
  is_quantized_ = true;
  quantized_ = QuantizedBuffer(compute_, num_rows_, cols_);
  const QuantizedRows& rows = quantized_.rows();
  const int64_t grain = CeilDiv(kMinTaskProducts / 4, std::max<int64_t>(1, cols_));
  compute_.pool->ParallelFor(num_rows_, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      QuantizeBlocks(*compute_.kernels, x_ + t * cols_, 0, rows.num_blocks, t, rows);
    }
  });
  return rows;
}

void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, Activations& x, float* y) {
  DS_CHECK(!bias || (bias.rows == 1 && bias.cols == w.rows),
           "a bias has one element for each row of the weight");
  DS_CHECK(x.cols() == w.cols, "as many activations as the weight has columns");
  const int64_t num_tokens = x.num_rows();
  if (num_tokens == 0) return;
  const std::vector<float> offset = bias ? DecodeVector(bias) : std::vector<float>();
  const int num_threads = compute.pool->num_threads();
  if (w.interleaved) {
    const QuantizedRows& rows = x.Quantized();
    const int64_t grain = InterleavedGrain(w, num_tokens, num_threads);
    compute.pool->ParallelFor(w.rows, grain, [&](int64_t begin, int64_t end, int) {
      compute.kernels->interleaved.matmul(w, begin, end, rows, nullptr, y, w.rows);
      AddBias(offset, begin, end, num_tokens, w.rows, y);
    });
    return;
  }
  const int64_t grain = RowGrain(w, num_tokens, num_threads);
  compute.pool->ParallelFor(w.rows, grain, [&](int64_t begin, int64_t end, int thread) {
    float* scratch = compute.Scratch(thread, MatMulScratch(w));
    compute.kernels->matmul_rows(w, begin, end, x.floats(), w.cols, num_tokens, y, w.rows, scratch);
    AddBias(offset, begin, end, num_tokens, w.rows, y);
  });
}

void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, const float* x, int64_t num_tokens,
            float* y) {
  Activations rows(compute, x, num_tokens, w.cols);
  MatMul(compute, w, bias, rows, y);
}

void RmsNorm(Compute& compute, const Matrix& weight, float eps, const float* x, int64_t num_tokens,
             float* y) {
  DS_CHECK(weight.rows == 1, "a norm weight has one row");
  const std::vector<float> factors = DecodeVector(weight);
  const int64_t n = weight.cols;
  const int64_t grain = CeilDiv(kMinTaskProducts, std::max<int64_t>(1, n));
  compute.pool->ParallelFor(num_tokens, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      compute.kernels->rms_norm(x + t * n, factors.data(), eps, n, y + t * n);
  });
}

std::vector<float> DecodeVector(const Matrix& m) {
  DS_CHECK(m && m.rows == 1, "a vector is a matrix of one row");
  std::vector<float> values(static_cast<size_t>(m.cols));
  DecodeRow(m, 0, values.data());
  return values;
}

}  // namespace deepshock
