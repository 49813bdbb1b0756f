// SPDX-License-Identifier: Apache-2.0
#include "grammar/stack_machine.h"

#include <algorithm>

namespace deepshock {
namespace {

uint64_t Key(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }

uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  return x ^ (x >> 31);
}

}  // namespace

StackMachine::StackMachine(const Grammar& grammar, bool dense) : grammar_(grammar), dense_(dense) { Clear(); }

void StackMachine::Clear() {
  frames_.assign(1, {});  // the bottom
  frame_numbers_.clear();
  sets_.clear();
  sets_.emplace_back();  // the dead one
  set_numbers_.clear();
  steps_.clear();
}

uint32_t StackMachine::Push(uint32_t state, uint32_t below) {
  // A call that nothing follows needs no place to return to.
  if (grammar_.only_ends(state)) return below;
  const auto [at, is_new] =
      frame_numbers_.try_emplace(Key(state, below), static_cast<uint32_t>(frames_.size()));
  if (is_new) frames_.push_back({state, below});
  return at->second;
}

uint32_t StackMachine::Close() {
  Set set;
  seen_.clear();
  // Few mostly; then looking through them is quickest.
  const auto is_new = [&](const Configuration& c) {
    if (std::find(seen_.begin(), seen_.end(), c) != seen_.end()) return false;
    seen_.push_back(c);
    return true;
  };
  while (!pending_.empty() && seen_.size() < 4 * kMaxConfigurations) {
    const Configuration c = pending_.back();
    pending_.pop_back();
    if (!is_new(c)) continue;
    if (!grammar_.edges(c.state).empty() && set.configurations.size() < kMaxConfigurations) {
      set.configurations.push_back(c);
    }
    for (const Grammar::Call& call : grammar_.calls(c.state)) {
      pending_.push_back({call.callee, Push(call.target, c.stack)});
    }
    if (!grammar_.accepting(c.state)) continue;
    if (c.stack == kBottom) {
      set.ended = true;
    } else {
      pending_.push_back({frames_[c.stack].state, frames_[c.stack].below});
    }
  }
  pending_.clear();
  if (set.configurations.empty() && !set.ended) return kDead;
  std::sort(set.configurations.begin(), set.configurations.end());
  uint64_t hash = set.ended ? 1 : 0;
  for (const Configuration& c : set.configurations) hash = Mix(hash * 31 + Key(c.state, c.stack));
  for (auto [at, end] = set_numbers_.equal_range(hash); at != end; ++at) {
    const Set& known = sets_[at->second];
    if (known.ended == set.ended && known.configurations == set.configurations) return at->second;
  }
  for (const Configuration& c : set.configurations) {
    for (const ByteEdge& edge : grammar_.edges(c.state)) {
      for (int byte = edge.low; byte <= edge.high; ++byte)
        set.bytes[static_cast<size_t>(byte) / 64] |= uint64_t{1} << byte % 64;
    }
  }
  if (dense_) {
    set.table = std::make_unique<std::array<uint32_t, 256>>();
    set.table->fill(kUnknown);
  }
  const auto number = static_cast<uint32_t>(sets_.size());
  sets_.push_back(std::move(set));
  set_numbers_.emplace(hash, number);
  return number;
}

uint32_t StackMachine::Start(uint32_t state) {
  pending_ = {{state, kBottom}};
  return Close();
}

uint32_t StackMachine::Return(uint32_t stack) {
  if (stack == kBottom) return kDead;
  pending_ = {{frames_[stack].state, frames_[stack].below}};
  return Close();
}

uint32_t StackMachine::StepSlowly(uint32_t set, uint8_t byte) {
  const uint64_t key = uint64_t{set} << 8 | byte;
  if (!dense_) {
    if (const auto at = steps_.find(key); at != steps_.end()) return at->second;
  }
  pending_.clear();
  for (const Configuration& c : sets_[set].configurations) {
    for (const ByteEdge& edge : grammar_.edges(c.state)) {
      if (byte < edge.low) break;
      if (byte > edge.high) continue;
      pending_.push_back({edge.target, c.stack});
      break;
    }
  }
  const uint32_t next = Close();
  if (dense_) {
    (*sets_[set].table)[byte] = next;
  } else {
    steps_[key] = next;
  }
  return next;
}

uint32_t StackMachine::Compact(uint32_t set) {
  const std::vector<Configuration> kept = sets_[set].configurations;
  const bool kept_ended = sets_[set].ended;
  const std::vector<Frame> frames = frames_;
  Clear();
  std::vector<Configuration> moved;
  for (Configuration c : kept) {
    std::vector<uint32_t> states;
    for (uint32_t at = c.stack; at != kBottom; at = frames[at].below) states.push_back(frames[at].state);
    c.stack = kBottom;
    for (size_t i = states.size(); i-- > 0;) c.stack = Push(states[i], c.stack);
    moved.push_back(c);
  }
  // Closing again changes nothing: but the empty stack's rule may have ended without a state that reads.
  pending_ = moved;
  const uint32_t number = Close();
  if (number != kDead && sets_[number].ended != kept_ended) sets_[number].ended = kept_ended;
  if (number != kDead || !kept_ended) return number;
  sets_.emplace_back();
  sets_.back().ended = true;
  return static_cast<uint32_t>(sets_.size() - 1);
}

}  // namespace deepshock
