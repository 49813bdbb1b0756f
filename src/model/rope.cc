// SPDX-License-Identifier: Apache-2.0
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace deepshock {
namespace {

// The pair index at which a frequency turns `rotations` times over the original context.
double CorrectionIndex(const RopeSpec& s, double rotations) {
  return s.dims * std::log(static_cast<double>(s.original_context) / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(s.theta));
}

// Between `low` and `high` YaRN blends from the original frequency to the interpolated one.
double YarnFrequency(const RopeSpec& s, int pair, double frequency) {
  double low = CorrectionIndex(s, s.beta_fast), high = CorrectionIndex(s, s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(s.dims - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((pair - low) / (high - low), 0.0, 1.0);
  return frequency / s.factor * ramp + frequency * (1.0 - ramp);
}

// Llama 3.1: long wavelengths are interpolated, short ones kept, those between blended.
double Llama3Frequency(const RopeSpec& s, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(s.original_context);
  if (wavelength < original / s.high_freq_factor) return frequency;
  if (wavelength > original / s.low_freq_factor) return frequency / s.factor;
  const double smooth =
      (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

}  // namespace

Rope::Rope(const RopeSpec& spec)
    : layout_(spec.layout),
      magnitude_(static_cast<float>(spec.magnitude)),
      frequencies_(static_cast<size_t>(spec.dims / 2)) {
  for (int i = 0; i < spec.dims / 2; ++i) {
    double f = std::pow(spec.theta, -2.0 * i / spec.dims);
    if (spec.scaling == RopeScaling::kLinear) f /= spec.factor;
    if (spec.scaling == RopeScaling::kYarn) f = YarnFrequency(spec, i, f);
    if (spec.scaling == RopeScaling::kLlama3) f = Llama3Frequency(spec, f);
    if (!spec.divisors.empty()) f /= static_cast<double>(spec.divisors[static_cast<size_t>(i)]);
    frequencies_[static_cast<size_t>(i)] = f;
  }
}

Rope::Angles Rope::At(int64_t position) const {
  Angles angles;
  for (const double f : frequencies_) {
    const double angle = static_cast<double>(position) * f;
    angles.cos.push_back(static_cast<float>(std::cos(angle)) * magnitude_);
    angles.sin.push_back(static_cast<float>(std::sin(angle)) * magnitude_);
  }
  return angles;
}

void Rope::Apply(const Angles& angles, float* head) const {
  const size_t half = frequencies_.size();
  for (size_t i = 0; i < half; ++i) {
    float& a = layout_ == RopeLayout::kInterleaved ? head[2 * i] : head[i];
    float& b = layout_ == RopeLayout::kInterleaved ? head[2 * i + 1] : head[i + half];
    const float rotated_a = a * angles.cos[i] - b * angles.sin[i];
    const float rotated_b = a * angles.sin[i] + b * angles.cos[i];
    a = rotated_a;
    b = rotated_b;
  }
}

}  // namespace deepshock
