// SPDX-License-Identifier: Apache-2.0
// ExpertTypes: which group of experts a request will mostly use. Types are the model's named groups, and any
// other name that requests bring. Where a request names none, the routers' choices on its first chunk tell:
// the group that holds the largest share of gate weight against what so many experts at random would. Before
// that, its tokens may: it learns which tokens the requests of each type were made of. A guess is a hint for
// batching and changes no output. Owned by the scheduler, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "experts/group_masks.h"
#include "runtime/routing_feed.h"

namespace deepshock {

class ExpertTypes {
 public:
  static constexpr int kUnknown = -1;
  static constexpr size_t kMaxTypes = 256;  // past that names are unknown

  explicit ExpertTypes(std::shared_ptr<const GroupMasks> groups);

  int Of(std::string_view name);  // "" is unknown
  const std::string& Name(int type) const {
    return type == kUnknown ? no_name_ : names_[static_cast<size_t>(type)];
  }
  // How much of the experts two types share: 1 for a type with itself, 0 with an unknown one.
  double Affinity(int a, int b) const;

  // From what the routers chose for rows of a pass.
  int Infer(std::span<const RoutingFeed::Layer> layers, int64_t first_row, int64_t num_rows) const;
  // Remembers what a prompt of this type looks like; guesses the type of another.
  void Learn(std::span<const int32_t> prompt, int type);
  int Guess(std::span<const int32_t> prompt) const;
  int64_t num_learned() const { return num_learned_; }

 private:
  std::shared_ptr<const GroupMasks> groups_;
  std::vector<double> chance_;    // [groups] share of all experts
  std::vector<double> affinity_;  // [groups, groups]
  std::vector<std::string> names_;
  std::string no_name_;
  // By token: in how many prompts of each type it was. Fades, so that it follows the traffic.
  std::unordered_map<int32_t, std::vector<float>> seen_;
  std::vector<float> prompts_;  // of each type
  int64_t num_learned_ = 0;
};

}  // namespace deepshock
