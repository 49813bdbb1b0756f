// SPDX-License-Identifier: Apache-2.0
// Kernels spread over the thread pool. Scratch lives in a Workspace that the caller owns and reuses.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace deepshock {

// What every operation runs with: passed explicitly, never global. One forward pass at a time.
struct Compute {
  const Kernels* kernels;
  ThreadPool* pool;
  std::vector<std::vector<float>> scratch;  // [num_threads], grown on demand

  Compute(const Kernels& k, ThreadPool& p)
      : kernels(&k), pool(&p), scratch(static_cast<size_t>(p.num_threads())) {}
  float* Scratch(int thread, int64_t floats) {
    std::vector<float>& s = scratch[static_cast<size_t>(thread)];
    if (static_cast<int64_t>(s.size()) < floats) s.resize(static_cast<size_t>(floats));
    return s.data();
  }
};

// y [T, N] = x [T, K] W^T + bias [1, N] (no bias: an absent matrix). Row strides are N and K.
void MatMul(Compute& compute, const Matrix& w, const Matrix& bias, const float* x, int64_t num_tokens,
            float* y);

// y [T, n] = RMSNorm(x [T, n]); y may be x. `weight` is [1, n], any dtype.
void RmsNorm(Compute& compute, const Matrix& weight, float eps, const float* x, int64_t num_tokens, float* y);

// A one-row matrix (norm weight, bias) as float32 [cols].
std::vector<float> DecodeVector(const Matrix& m);

}  // namespace deepshock
