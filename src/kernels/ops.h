// SPDX-License-Identifier: Apache-2.0
// Kernels spread over the thread pool. Temporaries live in buffers that the Compute keeps and reuses.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer_pool.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace deepshock {

// What every operation runs with: passed explicitly, never global. One forward pass at a time.
struct Compute {
  const Kernels* kernels;
  ThreadPool* pool;
  std::vector<std::vector<float>> scratch;             // [num_threads], grown on demand
  BufferPool buffers;                                  // for the thread that calls the operations
  const struct AttentionKernels* attention = nullptr;  // forced by tests; null: the table for `kernels`

  Compute(const Kernels& k, ThreadPool& p)
      : kernels(&k), pool(&p), scratch(static_cast<size_t>(p.num_threads())) {}
  float* Scratch(int thread, int64_t floats) {
    std::vector<float>& s = scratch[static_cast<size_t>(thread)];
    if (static_cast<int64_t>(s.size()) < floats) s.resize(static_cast<size_t>(floats));
    return s.data();
  }
};

// Memory for rows in 8 bits.
class QuantizedBuffer {
 public:
  QuantizedBuffer() = default;
  QuantizedBuffer(Compute& compute, int64_t num_rows, int64_t cols)
      : values_(compute.buffers.Borrow<int8_t>(num_rows * cols)),
        scales_(compute.buffers.Borrow<BlockScale>(num_rows * (cols / kQuantizedBlock))),
        rows_{num_rows, cols / kQuantizedBlock, values_.data(), scales_.data()} {}
  const QuantizedRows& rows() const { return rows_; }

 private:
  BufferPool::Buffer<int8_t> values_;
  BufferPool::Buffer<BlockScale> scales_;
  QuantizedRows rows_;
};

// Rows of activations [num_rows, cols] as products read them: float32, and the same in 8 bits, made once when
// the first interleaved weight asks for it. The floats stay the caller's. One thread.
class Activations {
 public:
  Activations(Compute& compute, const float* x, int64_t num_rows, int64_t cols)
      : compute_(compute), x_(x), num_rows_(num_rows), cols_(cols) {}
  const float* floats() const { return x_; }
  int64_t num_rows() const { return num_rows_; }
  int64_t cols() const { return cols_; }
  // cols is a multiple of 32.
  const QuantizedRows& Quantized();

 private:
  Compute& compute_;
  const float* x_;
  int64_t num_rows_, cols_;
  bool is_quantized_ = false;
  QuantizedBuffer quantized_;
};

// Blocks [first_block, first_block + num_blocks) of one row of `to`, from x [32 num_blocks].
void QuantizeBlocks(const Kernels& kernels, const float* x, int64_t first_block, int64_t num_blocks,
                    int64_t row, const QuantizedRows& to);

// Inside of a task: rows x [num_rows, cols] that begin `stride` floats apart, in 8 bits in the thread's
// scratch memory, which holds them until its next use. cols is a multiple of 32.
QuantizedRows QuantizeOnThread(Compute& compute, int thread, const float* x, int64_t stride, int64_t num_rows,
                               int64_t cols);

// y [T, N] = x [T, K] W^T + bias [1, N] (no bias: an absent matrix). Row strides are N and K.
void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, Activations& x, float* y);
void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, const float* x, int64_t num_tokens,
            float* y);

// y [T, n] = RMSNorm(x [T, n]); y may be x. `weight` is [1, n], any dtype.
void RmsNorm(Compute& compute, const Matrix& weight, float eps, const float* x, int64_t num_tokens, float* y);

// Products of 8-bit numbers from which on the threads share a phase of the experts. MatMul's tasks go down to a
// quarter of it.
inline constexpr int64_t kMinIntegerProducts = 1 << 18;

// Rows of an interleaved matrix for one task: enough work to be worth handing over, an equal share for each
// thread several times over, and few enough to stay in the L2 cache while all tokens pass by.
int64_t InterleavedGrain(const Matrix& w, int64_t num_tokens, int num_threads);

// A one-row matrix (norm weight, bias) as float32 [cols].
std::vector<float> DecodeVector(const Matrix& m);

}  // namespace deepshock
