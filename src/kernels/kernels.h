// SPDX-License-Identifier: Apache-2.0
// The kernel table: one row of function pointers for each instruction set, chosen once and passed explicitly.
// `reference` is plain scalar code and stays as the oracle; every other table must match it within the
// tolerance its test derives. Kernels run on the calling thread; ops.h spreads them over a pool. All
// activations are float32; sums are float32. For one table the sum order over k does not depend on how many
// tokens are computed together, so a token's result is the same alone and in a batch.
// Interleaved weights (tensor/interleaved.h) are multiplied by activations in 8 bits
// (kernels/quantized_rows.h): products are exact integers, and scales are applied in float32 in the order of
// the columns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/quantized_rows.h"
#include "tensor/matrix.h"

namespace deepshock {

// Products of interleaved weights with activations in 8 bits.
struct InterleavedKernels {
  // One row of 32 num_blocks activations to 8 bits: block b to values + b * step * 32 and scales + b * step.
  void (*quantize_row)(const float* x, int64_t num_blocks, int64_t step, int8_t* values, BlockScale* scales);
  // y[(slots ? slots[t] : t) * y_stride + n] = dot(x[t, :], W[n, :]) for n in [row_begin, row_end), every row
  // t of x. W is interleaved, row_begin a multiple of 16, and so is row_end unless it is w.rows.
  void (*matmul)(const Matrix& w, int64_t row_begin, int64_t row_end, const QuantizedRows& x,
                 const int32_t* slots, float* y, int64_t y_stride);
};

struct Kernels {
  std::string_view name;  // "reference", "avx2", "avx512", "avx512vnni", "neon"

  // sum over k < n of a[k] b[k]
  float (*dot)(const float* a, const float* b, int64_t n);
  // y[k] += a x[k]
  void (*axpy)(float a, const float* x, float* y, int64_t n);
  // Decodes one row of weights to float32.
  void (*decode_row)(const Matrix& w, int64_t row, float* out);
  // y[t * y_stride + n] = dot(x + t * x_stride, W[n, :]) for n in [row_begin, row_end), t in [0, num_tokens).
  // y is indexed by the absolute row n. scratch: MatMulScratch(w) floats.
  void (*matmul_rows)(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x, int64_t x_stride,
                      int64_t num_tokens, float* y, int64_t y_stride, float* scratch);
  // y[k] = sum over n of x[n] W[n, k]: the transposed product. scratch: w.cols floats.
  void (*matvec_transposed)(const Matrix& w, const float* x, float* y, float* scratch);
  // y[k] = x[k] / sqrt(mean(x^2) + eps) * weight[k]; y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  // In place; n >= 1. A row of -inf only is a bug.
  void (*softmax)(float* x, int64_t n);
  // out[k] = silu(gate[k]) up[k]; out may be gate.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  InterleavedKernels interleaved;
};

// Floats of scratch that matmul_rows needs for `w`, one for each thread.
int64_t MatMulScratch(const Matrix& w);

const Kernels& ReferenceKernels();
// The fastest table that this CPU runs.
const Kernels& BestKernels();
// Every table that this CPU runs, reference first.
std::vector<const Kernels*> AvailableKernels();
// By name; the error lists what is built in and tells when the CPU lacks the instruction set.
Result<const Kernels*> KernelsByName(std::string_view name);

}  // namespace deepshock
