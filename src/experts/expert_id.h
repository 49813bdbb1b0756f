// SPDX-License-Identifier: Apache-2.0
// ExpertId: which routed expert of a model. The layer counts as the model's layers do, dense ones included;
// the layers of multi-token prediction follow, from L on. Plain value, usable as a key of ordered and hashed
// maps.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace deepshock {

struct ExpertId {
  int32_t layer = 0;
  int32_t expert = 0;

  friend auto operator<=>(const ExpertId&, const ExpertId&) = default;
};

}  // namespace deepshock

template <>
struct std::hash<deepshock::ExpertId> {
  size_t operator()(const deepshock::ExpertId& id) const noexcept {
    const uint64_t both =
        static_cast<uint64_t>(static_cast<uint32_t>(id.layer)) << 32 | static_cast<uint32_t>(id.expert);
    return std::hash<uint64_t>()(both);
  }
};
