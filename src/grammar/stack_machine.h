// SPDX-License-Identifier: Apache-2.0
// StackMachine: runs a grammar byte by byte. A configuration is a state and the stack of rules that it will
// return to; as grammars may be ambiguous, several hold at once. Stacks share their lower parts, and sets of
// configurations are numbered, so that a step taken before is a look-up. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"

namespace deepshock {

class StackMachine {
 public:
  // Alternatives of a hostile schema grow with its depth; those beyond this many are given up.
  static constexpr size_t kMaxConfigurations = 1024;
  static constexpr uint32_t kDead = 0;    // the set of none
  static constexpr uint32_t kBottom = 0;  // the empty stack

  struct Configuration {
    uint32_t state;
    uint32_t stack;
    auto operator<=>(const Configuration&) const = default;
  };

  // Dense: each set has a table of its steps by byte, 1 KiB, which makes long walks fast.
  StackMachine(const Grammar& grammar, bool dense);

  // The set of a state on the empty stack.
  uint32_t Start(uint32_t state);
  // The set where the topmost rule of a stack has ended.
  uint32_t Return(uint32_t stack);
  uint32_t Step(uint32_t set, uint8_t byte) {
    const Set& from = sets_[set];
    if ((from.bytes[byte / 64] >> byte % 64 & 1) == 0) return kDead;
    if (from.table != nullptr && (*from.table)[byte] != kUnknown) return (*from.table)[byte];
    return StepSlowly(set, byte);
  }
  // Those whose state reads a byte; without those of a rule called that returns at once.
  std::span<const Configuration> configurations(uint32_t set) const { return sets_[set].configurations; }
  // Whether the empty stack's rule may have ended.
  bool ended(uint32_t set) const { return sets_[set].ended; }

  size_t num_sets() const { return sets_.size(); }
  // Forgets everything but one set, and returns its new number.
  uint32_t Compact(uint32_t set);

 private:
  static constexpr uint32_t kUnknown = ~uint32_t{0};
  struct Frame {
    uint32_t state, below;
  };
  struct Set {
    std::vector<Configuration> configurations;  // ascending
    bool ended = false;
    std::array<uint64_t, 4> bytes{};  // that some configuration reads
    std::unique_ptr<std::array<uint32_t, 256>> table;
  };
  uint32_t StepSlowly(uint32_t set, uint8_t byte);
  // The set of what the pending configurations lead to without reading.
  uint32_t Close();
  uint32_t Push(uint32_t state, uint32_t below);
  void Clear();

  const Grammar& grammar_;
  bool dense_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, uint32_t> frame_numbers_;
  std::vector<Set> sets_;
  std::unordered_multimap<uint64_t, uint32_t> set_numbers_;  // by hash
  std::unordered_map<uint64_t, uint32_t> steps_;             // set * 256 + byte; where not dense
  std::vector<Configuration> pending_, seen_;
};

}  // namespace deepshock
