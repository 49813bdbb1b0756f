// SPDX-License-Identifier: Apache-2.0
// Plain scalar kernels: the oracle. Every sum runs over k = 0, 1, ... in float32.
#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

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

void QuantizeRow(const float* x, int64_t num_blocks, int64_t step, int8_t* values, BlockScale* scales) {
  for (int64_t b = 0; b < num_blocks; ++b, x += kQuantizedBlock) {
    float largest = 0;
    for (int i = 0; i < kQuantizedBlock; ++i) {
      if (!(std::fabs(x[i]) <= largest)) largest = std::isnan(largest) ? largest : std::fabs(x[i]);
    }
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int32_t sums[2] = {0, 0};
    for (int i = 0; i < kQuantizedBlock; ++i) {
      // Not a number of 8 bits only where the scale makes a NaN of the whole block.
      const float rounded = std::nearbyint(x[i] * inverse);
      const auto q = static_cast<int8_t>(std::fabs(rounded) <= 127 ? rounded : 0);
      values[b * step * kQuantizedBlock + i] = q;
      sums[i / 16] += q;
    }
    BlockScale& s = scales[b * step];
    s.scale = largest / 127.0f;
    s.minus_sum_low = -sums[0];
    s.minus_sum_high = -sums[1];
    s.minus_sum = -sums[0] - sums[1];
    s.minus_scaled_sum = s.scale * static_cast<float>(s.minus_sum);
  }
}

// The weights as floats by the activations as floats.
void MatmulInterleaved(const Matrix& w, int64_t row_begin, int64_t row_end, const QuantizedRows& x,
                       const int32_t* slots, float* y, int64_t y_stride) {
  std::vector<float> weights(static_cast<size_t>(w.cols));
  for (int64_t n = row_begin; n < row_end; ++n) {
    DecodeRow(w, n, weights.data());
    for (int64_t t = 0; t < x.num_rows; ++t) {
      const int64_t step = x.PanelSize(t / kPanelRows);
      float sum = 0;
      for (int64_t b = 0; b < x.num_blocks; ++b) {
        const int64_t block = x.BlockIndex(t) + b * step;
        for (int i = 0; i < kQuantizedBlock; ++i) {
          sum += weights[static_cast<size_t>(b * kQuantizedBlock + i)] * x.scales[block].scale *
                 static_cast<float>(x.values[block * kQuantizedBlock + i]);
        }
      }
      y[(slots != nullptr ? slots[t] : t) * y_stride + n] = sum;
    }
  }
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
      .interleaved = {QuantizeRow, MatmulInterleaved},
  };
  return kKernels;
}

}  // namespace deepshock
