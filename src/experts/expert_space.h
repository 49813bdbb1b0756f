// SPDX-License-Identifier: Apache-2.0
// ExpertSpace: which routed experts a model has, numbered densely. Plain value, made from a model's spec or a
// trace's header by whoever reads those.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "experts/expert_id.h"

namespace deepshock {

class ExpertSpace {
 public:
  // `layers`: those with experts, ascending; each has `num_experts`, of which a token takes `num_chosen`.
  ExpertSpace(std::vector<int32_t> layers, int num_experts, int num_chosen)
      : layers_(std::move(layers)), num_experts_(num_experts), num_chosen_(num_chosen) {
    DS_CHECK(num_experts > 0 && num_chosen > 0, "a space of experts needs some");
    DS_CHECK(std::is_sorted(layers_.begin(), layers_.end()), "layers must ascend");
    for (size_t i = 0; i < layers_.size(); ++i) {
      index_of_.resize(static_cast<size_t>(layers_[i]) + 1, -1);
      index_of_[static_cast<size_t>(layers_[i])] = static_cast<int32_t>(i);
    }
  }

  const std::vector<int32_t>& layers() const { return layers_; }
  size_t num_layers() const { return layers_.size(); }
  int num_experts() const { return num_experts_; }  // E, of a layer
  int num_chosen() const { return num_chosen_; }    // K
  size_t size() const { return layers_.size() * static_cast<size_t>(num_experts_); }

  bool Has(ExpertId id) const {
    return id.layer >= 0 && static_cast<size_t>(id.layer) < index_of_.size() &&
           index_of_[static_cast<size_t>(id.layer)] >= 0 && id.expert >= 0 && id.expert < num_experts_;
  }
  // Of a layer that has experts, among those.
  size_t LayerIndex(int32_t layer) const {
    DS_CHECK(Has({layer, 0}), "a layer without experts");
    return static_cast<size_t>(index_of_[static_cast<size_t>(layer)]);
  }
  // 0 .. size() - 1, by layer, then expert.
  size_t Index(ExpertId id) const {
    return LayerIndex(id.layer) * static_cast<size_t>(num_experts_) + static_cast<size_t>(id.expert);
  }
  ExpertId At(size_t index) const {
    const auto e = static_cast<size_t>(num_experts_);
    return {layers_[index / e], static_cast<int32_t>(index % e)};
  }

 private:
  std::vector<int32_t> layers_;
  std::vector<int32_t> index_of_;  // [layer of the model]
  int num_experts_, num_chosen_;
};

}  // namespace deepshock
