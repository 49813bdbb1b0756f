// SPDX-License-Identifier: Apache-2.0
// CachePolicy: which experts are worth their place in fast memory. Time goes by passes of the model: a pass
// visits the layers in ascending order and uses a set of experts in each. A policy only watches and values;
// what is in memory, what may leave and how it is read is the affair of who asks (experts/residency.h), so
// that a store and its simulation decide alike. Owned by one Residency, on its thread.
//
//   lru        what was used last stays. A token uses every layer before it comes back to the first, so where
//              the memory is smaller than a token's experts nothing is there any more when it is needed
//              again.
//   frequency  what will be needed again soonest stays: by how often the last tokens chose an expert, a fast
//              and a slow estimate together, and by how far its layer is ahead. A prompt that uses every
//              expert once changes little.
//   profile    the same, with measured profiles (named groups of experts) for a prior. Each profile counts as
//              much as it foretold what was chosen lately, beside the prior that knows nothing: one that does
//              not help fades within some tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "experts/expert_space.h"

namespace deepshock {

// One of the experts that a pass uses in a layer.
struct ExpertUse {
  int32_t expert = 0;
  int32_t rows = 0;  // of the pass that chose it
};

// [ExpertSpace::Index]: how often a token is expected to choose the expert; sums to K in a layer.
using ExpertRates = std::vector<float>;

class CachePolicy {
 public:
  virtual ~CachePolicy() = default;
  virtual std::string_view name() const = 0;
  // A pass of `num_rows` rows uses these in this layer: each once, ascending. Comes before any of them is
  // loaded and before room is made for it.
  virtual void OnUse(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses) = 0;
  // It was brought in without having been used: foretold, or warmed up.
  virtual void OnForetold(ExpertId id) { (void)id; }
  // The one of least worth leaves first. Only the order means something, and only between two calls of OnUse.
  virtual double Worth(ExpertId id) const = 0;
};

inline constexpr std::string_view kCachePolicyNames = "auto, lru, frequency, profile";

// `profiles` [G][ExpertSpace::size()]. "auto" is profile where there are any, else frequency. Fails on an
// unknown name, and on "profile" without profiles.
Result<std::unique_ptr<CachePolicy>> MakeCachePolicy(std::string_view name, const ExpertSpace& space,
                                                     std::vector<ExpertRates> profiles);

}  // namespace deepshock
