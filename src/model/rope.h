// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (arXiv 2104.09864) with linear, YaRN (arXiv 2309.00071) and Llama 3 scaling.
#pragma once

#include <cstdint>
#include <vector>

#include "model/spec.h"

namespace deepshock {

class Rope {
 public:
  explicit Rope(const RopeSpec& spec);

  // cos and sin of one position, [dims/2] each, times the spec's magnitude.
  struct Angles {
    std::vector<float> cos, sin;
  };
  Angles At(int64_t position) const;

  // Rotates the leading `dims` entries of one head in place.
  void Apply(const Angles& angles, float* head) const;

  const std::vector<double>& frequencies() const { return frequencies_; }

 private:
  RopeLayout layout_;
  float magnitude_;
  std::vector<double> frequencies_;  // [dims/2] radians a position
};

}  // namespace deepshock
