// SPDX-License-Identifier: Apache-2.0
// Plain scalar kernels: the oracle. Every sum runs over k = 0, 1, ... in float32.
#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "tensor/codec.h"

namespace deepshock {
namespace {

float Dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

void Axpy(float a, const float* x, float* y, int64_t n) {
  for (int64_t k = 0; k < n; ++k) y[k] += a * x[k];
}

void MatmulRows(const Matrix& w, int64_t row_begin, int64_t row_end, const float* x, int64_t x_stride,
                int64_t num_tokens, float* y, int64_t y_stride, float* scratch) {
  for (int64_t n = row_begin; n < row_end; ++n) {
    DecodeRow(w, n, scratch);
    for (int64_t t = 0; t < num_tokens; ++t) y[t * y_stride + n] = Dot(x + t * x_stride, scratch, w.cols);
  }
}

void MatvecTransposed(const Matrix& w, const float* x, float* y, float* scratch) {
  std::fill_n(y, w.cols, 0.0f);
  for (int64_t n = 0; n < w.rows; ++n) {
    DecodeRow(w, n, scratch);
    Axpy(x[n], scratch, y, w.cols);
  }
}

void RmsNormRow(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const float scale = 1.0f / std::sqrt(Dot(x, x, n) / static_cast<float>(n) + eps);
  for (int64_t k = 0; k < n; ++k) y[k] = x[k] * scale * weight[k];
}

void Softmax(float* x, int64_t n) {
  const float max = *std::max_element(x, x + n);
  DS_CHECK(max > -INFINITY, "softmax of a row without a finite element");
  float sum = 0;
  for (int64_t k = 0; k < n; ++k) {
    x[k] = std::exp(x[k] - max);
    sum += x[k];
  }
  for (int64_t k = 0; k < n; ++k) x[k] /= sum;
}

void Swiglu(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = gate[k] / (1.0f + std::exp(-gate[k])) * up[k];
}

}  // namespace

const Kernels& ReferenceKernels() {
  static constexpr Kernels kKernels = {
      .name = "reference",
      .dot = Dot,
      .axpy = Axpy,
      .decode_row = DecodeRow,
      .matmul_rows = MatmulRows,
      .matvec_transposed = MatvecTransposed,
      .rms_norm = RmsNormRow,
      .softmax = Softmax,
      .swiglu = Swiglu,
  };
  return kKernels;
}

}  // namespace deepshock
