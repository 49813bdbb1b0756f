// SPDX-License-Identifier: Apache-2.0
#include "experts/group_masks.h"

#include <algorithm>
#include <bit>

namespace deepshock {

GroupMasks::GroupMasks(RoutingShape shape) : shape_(std::move(shape)) {
  masks_.resize(shape_.layers.size() * static_cast<size_t>(shape_.num_experts));
}

Status GroupMasks::Add(std::string name, std::span<const ExpertId> experts) {
  if (names_.size() == kMaxGroups) return Fail("group {}: expected at most {} groups", name, kMaxGroups);
  if (std::ranges::count(names_, name) > 0) return Fail("group {}: there is one of this name", name);
  const uint64_t bit = uint64_t{1} << names_.size();
  for (const ExpertId& id : experts) {
    if (!shape_.layers.empty() && id.layer > shape_.layers.back()) continue;
    const auto layer = std::ranges::lower_bound(shape_.layers, id.layer);
    if (layer == shape_.layers.end() || *layer != id.layer || id.expert < 0 ||
        id.expert >= shape_.num_experts)
      return Fail("group {}: the model has no expert {}:{}", name, id.layer, id.expert);
    const auto slot = static_cast<size_t>(layer - shape_.layers.begin());
    masks_[slot * static_cast<size_t>(shape_.num_experts) + static_cast<size_t>(id.expert)] |= bit;
  }
  names_.push_back(std::move(name));
  return {};
}

Result<std::vector<ExpertId>> GroupMasks::Find(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  if (found == names_.end()) {
    if (!unavailable_.ok()) return unavailable_.WithContext(fmt::format("group \"{}\"", name));
    std::string known;
    for (const std::string& other : names_) known += (known.empty() ? "" : ", ") + other;
    return Fail("no expert group is named \"{}\"; known groups: {}", name, known.empty() ? "none" : known);
  }
  const uint64_t bit = uint64_t{1} << (found - names_.begin());
  std::vector<ExpertId> experts;
  for (size_t slot = 0; slot < shape_.layers.size(); ++slot) {
    for (int32_t e = 0; e < shape_.num_experts; ++e) {
      if ((At(slot, e) & bit) != 0) experts.push_back({shape_.layers[slot], e});
    }
  }
  return experts;
}

Status AddGroups(const GroupsFile& file, GroupMasks* masks) {
  for (const ExpertGroup& group : file.groups) {
    std::vector<ExpertId> experts;
    for (const LayerSelection& layer : group.Select().layers) {
      for (const int32_t expert : layer.experts) experts.push_back({layer.layer, expert});
    }
    DS_RETURN_IF_ERROR(masks->Add(group.name, experts));
  }
  return {};
}

double GroupMasks::AddWeights(size_t layer_slot, std::span<const int32_t> experts,
                              std::span<const float> weights, std::span<double> shares) const {
  double sum = 0;
  for (size_t i = 0; i < experts.size() && experts[i] >= 0; ++i) {
    sum += weights[i];
    for (uint64_t mask = At(layer_slot, experts[i]); mask != 0; mask &= mask - 1)
      shares[static_cast<size_t>(std::countr_zero(mask))] += weights[i];
  }
  return sum;
}

}  // namespace deepshock
