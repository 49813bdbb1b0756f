// SPDX-License-Identifier: Apache-2.0
// Operations on vectors, written over the names of <isa>/vector.h, which comes first. Internal linkage: see
// kernels/isa.h.
#pragma once

#include <cstdint>

namespace deepshock {
namespace {

// Within 2 ulp; 0 below -104, infinity above 89. The reduced argument is at most ln(2)/2, where the Taylor
// series ends after r^7/7! with an error of 5e-9.
DS_INLINE F Exp(F x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few enough bits that n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  x = Min(Set1(89), Max(Set1(-104), x));
  const F n = Round(Mul(x, Set1(kLog2E)));
  const F r = Fma(n, Set1(-kLn2Low), Fma(n, Set1(-kLn2High), x));
  F p = Set1(1.0f / 5040);
  p = Fma(p, r, Set1(1.0f / 720));
  p = Fma(p, r, Set1(1.0f / 120));
  p = Fma(p, r, Set1(1.0f / 24));
  p = Fma(p, r, Set1(1.0f / 6));
  p = Fma(p, r, Set1(0.5f));
  p = Fma(p, r, Set1(1));
  p = Fma(p, r, Set1(1));
  return TimesPowerOf2(p, n);
}

// Four sums side by side: one would wait for its own additions.
float Dot(const float* a, const float* b, int64_t n) {
  F sum[4] = {Set1(0), Set1(0), Set1(0), Set1(0)};
  int64_t k = 0;
  for (; k + 4 * kLanes <= n; k += 4 * kLanes) {
    for (int i = 0; i < 4; ++i) sum[i] = Fma(Load(a + k + i * kLanes), Load(b + k + i * kLanes), sum[i]);
  }
  for (; k + kLanes <= n; k += kLanes) sum[0] = Fma(Load(a + k), Load(b + k), sum[0]);
  if (k < n) sum[1] = Fma(LoadPart(a + k, n - k), LoadPart(b + k, n - k), sum[1]);
  return ReduceSum(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}

void Axpy(float a, const float* x, float* y, int64_t n) {
  const F factor = Set1(a);
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) Store(y + k, Fma(factor, Load(x + k), Load(y + k)));
  if (k < n) StorePart(y + k, Fma(factor, LoadPart(x + k, n - k), LoadPart(y + k, n - k)), n - k);
}

void RmsNormRow(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const float mean = Dot(x, x, n) / static_cast<float>(n);
  const F scale = Set1(1.0f / SquareRoot(mean + eps));
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) Store(y + k, Mul(Mul(Load(x + k), scale), Load(weight + k)));
  if (k < n) StorePart(y + k, Mul(Mul(LoadPart(x + k, n - k), scale), LoadPart(weight + k, n - k)), n - k);
}

void Softmax(float* x, int64_t n) {
  F largest = Set1(x[0]);
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) largest = Max(largest, Load(x + k));
  float max = ReduceMax(largest);
  for (; k < n; ++k) max = x[k] > max ? x[k] : max;

  F sums = Set1(0);
  const F shift = Set1(max);
  for (k = 0; k + kLanes <= n; k += kLanes) {
    const F e = Exp(Sub(Load(x + k), shift));
    Store(x + k, e);
    sums = Add(sums, e);
  }
  if (k < n) {
    StorePart(x + k, Exp(Sub(LoadPart(x + k, n - k), shift)), n - k);
    sums = Add(sums, LoadPart(x + k, n - k));
  }
  const F scale = Set1(1.0f / ReduceSum(sums));
  for (k = 0; k + kLanes <= n; k += kLanes) Store(x + k, Mul(Load(x + k), scale));
  if (k < n) StorePart(x + k, Mul(LoadPart(x + k, n - k), scale), n - k);
}

DS_INLINE F SiluTimes(F gate, F up) { return Mul(Div(gate, Add(Set1(1), Exp(Sub(Set1(0), gate)))), up); }

void Swiglu(const float* gate, const float* up, int64_t n, float* out) {
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) Store(out + k, SiluTimes(Load(gate + k), Load(up + k)));
  if (k < n) StorePart(out + k, SiluTimes(LoadPart(gate + k, n - k), LoadPart(up + k, n - k)), n - k);
}

}  // namespace
}  // namespace deepshock
