// SPDX-License-Identifier: Apache-2.0
// What to bring into memory before the first request: the order that profiles of named groups give, and the
// warm set that a run leaves for the next one in a small file. Plain values and pure functions; a store does
// the bringing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/cache_policy.h"
#include "experts/expert_space.h"
#include "experts/groups.h"
#include "experts/profile.h"

namespace deepshock {

// A profile as cache policies take it: how often a token chooses each expert of the space. Layers that the
// profile does not know count as even.
ExpertRates RatesOf(const ExpertProfile& profile, const ExpertSpace& space);

// The experts of the space that any of the profiles has ever seen chosen. The profiles take turns, each with
// the one it chooses most often of those not yet there, so that several groups share what memory there is.
std::vector<ExpertId> WarmUpOrder(std::span<const ExpertProfile* const> profiles, const ExpertSpace& space);

// Of the profile's selections in layers of the space, the share that falls on `experts`.
double CoveredShare(const ExpertProfile& profile, const ExpertSpace& space,
                    std::span<const ExpertId> experts);

// "3:17", an expert by layer and number. Fails unless the space has it.
Result<ExpertId> ParseExpertId(std::string_view text, const ExpertSpace& space);

// A warm set as a file: JSON
//   {"deepshock_warm_set": 1, "hidden": H, "experts": E, "experts_per_token": K,
//    "routers": [[layer, "signs of the fingerprint, 16 hexadecimal digits"], ...],
//    "warm": [[layer, expert], ...]}     the most useful first
struct WarmSet {
  ModelFingerprint model;
  std::vector<ExpertId> experts;

  std::string ToJson() const;
  // `name` is for messages. Experts are distinct and below E.
  static Result<WarmSet> Parse(std::string_view text, const std::string& name);
  static Result<WarmSet> Load(const std::string& path);
  // Written beside `path` and renamed.
  Status Save(const std::string& path) const;
  // Fails when this is the set of another model.
  Status CheckModel(const ModelFingerprint& model) const;
};

}  // namespace deepshock
