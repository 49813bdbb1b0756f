// SPDX-License-Identifier: Apache-2.0
#include "tensor/scale_search.h"

#include <cmath>
#include <limits>

#include "base/check.h"

namespace deepshock {
namespace {

// Sums over a group for one rounding q of its elements: what least squares needs.
struct Moments {
  float w = 0, x = 0, q = 0, qq = 0, xq = 0;
};

// q = round(inverse * (x + min)), in [low, high].
Moments SumRounded(const float* x, const float* weights, int n, float inverse, float min, float low,
                   float high) {
  DS_CHECK(n > 0 && n % kLanes == 0, "groups are whole lanes");
  float w[kLanes] = {}, sx[kLanes] = {}, sq[kLanes] = {}, sqq[kLanes] = {}, sxq[kLanes] = {};
  for (int i = 0; i < n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = RoundClamped(inverse * (x[i + l] + min), low, high);
      const float wq = weights[i + l] * q;
      w[l] += weights[i + l];
      sx[l] += weights[i + l] * x[i + l];
      sq[l] += wq;
      sqq[l] += wq * q;
      sxq[l] += wq * x[i + l];
    }
  }
  return {SumLanes(w), SumLanes(sx), SumLanes(sq), SumLanes(sqq), SumLanes(sxq)};
}

struct Fit {
  AffineScale at;
  float gain;  // sum of w x^2 minus the squared error: larger is better
};

// Least squares for x ~ scale * q - min with scale, min >= 0.
Fit FitAffine(const Moments& m) {
  const float determinant = m.w * m.qq - m.q * m.q;
  if (determinant > 0) {
    const float scale = (m.w * m.xq - m.x * m.q) / determinant;
    const float min = (scale * m.q - m.x) / m.w;
    if (scale >= 0 && min >= 0) return {{scale, min}, scale * m.xq - min * m.x};
  }
  if (m.xq <= 0) return {{0, 0}, 0};
  const float scale = m.xq / m.qq;
  return {{scale, 0}, scale * m.xq};
}

}  // namespace

float FindScale(const float* x, const float* weights, int n, int low, int high) {
  float largest = 0;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (largest == 0) return 0;
  const float low_f = static_cast<float>(low), high_f = static_cast<float>(high);
  float best_scale = largest / -low_f, best_gain = 0;
  const auto consider = [&](float inverse) {
    const Moments m = SumRounded(x, weights, n, inverse, 0, low_f, high_f);
    if (m.qq <= 0) return;
    const float scale = m.xq / m.qq, gain = scale * m.xq;
    if (gain <= best_gain) return;
    best_gain = gain;
    best_scale = scale;
  };
  // The largest element's rounded magnitude: from well inside the range to somewhat past its end, where it is
  // clipped.
  constexpr float kStep = 0.125f;
  const float last = -low_f + 1.5f;
  for (float target = std::min(0.75f * high_f, high_f - 2); target <= last; target += kStep) {
    consider(target / largest);
    consider(-target / largest);
  }
  for (int i = 0; i < 3; ++i) consider(InverseOrZero(best_scale));
  return best_scale;
}

AffineScale FindScaleAndMin(const float* x, const float* weights, int n, int high) {
  const auto [lowest, highest] = std::minmax_element(x, x + n);
  const float min = std::max(0.0f, -*lowest);
  const float range = *highest + min;
  if (range <= 0) return {0, min};  // all elements are equal and not positive
  const float high_f = static_cast<float>(high);
  Fit best = {{range / high_f, min}, -std::numeric_limits<float>::infinity()};
  // Ranges from slightly more than what the elements span down to what clips them at both ends; for each,
  // least squares, rounding by its result, and least squares again.
  constexpr float kStep = 0.25f;
  for (float target = high_f - 1; target <= high_f * 1.35f; target += kStep) {
    const float inverse = target / range;
    const float clipped = std::max(0.0f, target - high_f) / 2 / inverse;
    Fit fit = FitAffine(SumRounded(x, weights, n, inverse, std::max(0.0f, min - clipped), 0, high_f));
    for (int i = 0; i < 2; ++i) {
      if (fit.gain > best.gain) best = fit;
      fit = FitAffine(SumRounded(x, weights, n, InverseOrZero(fit.at.scale), fit.at.min, 0, high_f));
    }
    if (fit.gain > best.gain) best = fit;
  }
  return best.at;
}

}  // namespace deepshock
