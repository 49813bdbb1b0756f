// SPDX-License-Identifier: Apache-2.0
#include "kernels/ops.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/codec.h"

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

}  // namespace

void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, const float* x, int64_t num_tokens,
            float* y) {
  DS_CHECK(!bias || (bias.rows == 1 && bias.cols == w.rows),
           "a bias has one element for each row of the weight");
  if (num_tokens == 0) return;
  const std::vector<float> offset = bias ? DecodeVector(bias) : std::vector<float>();
  const int64_t grain = RowGrain(w, num_tokens, compute.pool->num_threads());
  compute.pool->ParallelFor(w.rows, grain, [&](int64_t begin, int64_t end, int thread) {
    float* scratch = compute.Scratch(thread, MatMulScratch(w));
    compute.kernels->matmul_rows(w, begin, end, x, w.cols, num_tokens, y, w.rows, scratch);
    if (offset.empty()) return;
    for (int64_t t = 0; t < num_tokens; ++t) {
      for (int64_t n = begin; n < end; ++n) y[t * w.rows + n] += offset[static_cast<size_t>(n)];
    }
  });
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
