// SPDX-License-Identifier: Apache-2.0
// GroupMasks: which named groups of experts each expert belongs to, for look-ups at every selection. Groups
// may overlap. Immutable once filled; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "experts/groups.h"
#include "experts/routing_sink.h"

namespace deepshock {

class GroupMasks {
 public:
  static constexpr size_t kMaxGroups = 64;

  GroupMasks() = default;
  explicit GroupMasks(RoutingShape shape);

  // Fails for a name that is there, an expert that the model lacks, and past kMaxGroups groups. MTP layers'
  // experts (layers past the shape's last) are passed over.
  Status Add(std::string name, std::span<const ExpertId> experts);
  // Why there are no groups, which is then what Find says.
  void SetUnavailable(Status why) { unavailable_ = std::move(why); }

  size_t size() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  // Bit g: the expert of shape().layers[layer_slot] is in group g.
  uint64_t At(size_t layer_slot, int32_t expert) const {
    return masks_[layer_slot * static_cast<size_t>(shape_.num_experts) + static_cast<size_t>(expert)];
  }
  // The group's experts, ascending; the error lists the names there are.
  Result<std::vector<ExpertId>> Find(std::string_view name) const;
  const RoutingShape& shape() const { return shape_; }

  // What each group holds of one token's gate weight: shares[g] += its weight in this layer. Returns the
  // layer's whole weight.
  double AddWeights(size_t layer_slot, std::span<const int32_t> experts, std::span<const float> weights,
                    std::span<double> shares) const;

 private:
  RoutingShape shape_;
  std::vector<std::string> names_;
  std::vector<uint64_t> masks_;  // [layers, E]
  Status unavailable_;
};

// Every group of a groups file, as its rule selects.
Status AddGroups(const GroupsFile& file, GroupMasks* masks);

}  // namespace deepshock
