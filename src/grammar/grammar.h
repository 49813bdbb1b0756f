// SPDX-License-Identifier: Apache-2.0
// Grammar: rules whose bodies are automata over bytes that call each other, a pushdown automaton. Made by a
// GrammarBuilder, immutable then and shared between threads. States of all rules have one numbering. Every
// state reaches its rule's end, so whatever has been accepted can be brought to an end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/automaton.h"

namespace deepshock {

class Grammar {
 public:
  struct Call {
    uint32_t callee;  // the state where that rule begins
    uint32_t target;  // the state after it
  };

  uint32_t start() const { return start_; }
  uint32_t num_states() const { return static_cast<uint32_t>(accepting_.size()); }
  std::span<const ByteEdge> edges(uint32_t state) const {
    return std::span(edges_).subspan(first_edge_[state], first_edge_[state + 1] - first_edge_[state]);
  }
  std::span<const Call> calls(uint32_t state) const {
    return std::span(calls_).subspan(first_call_[state], first_call_[state + 1] - first_call_[state]);
  }
  // The rule may end here.
  bool accepting(uint32_t state) const { return accepting_[state]; }
  // It does nothing but end here.
  bool only_ends(uint32_t state) const {
    return accepting(state) && edges(state).empty() && calls(state).empty();
  }
  // A state that the next kShortView bytes cannot tell from this one; the same for all of which that is
  // known.
  static constexpr int kShortView = 16;
  uint32_t short_view(uint32_t state) const { return short_view_[state]; }

 private:
  friend class GrammarBuilder;
  struct Rule {
    uint32_t first_state, num_states;
  };
  void FindShortViews(Budget* budget);
  uint32_t start_ = 0;
  std::vector<uint32_t> first_edge_ = {0}, first_call_ = {0};  // [states + 1]
  std::vector<ByteEdge> edges_;
  std::vector<Call> calls_;
  std::vector<bool> accepting_;
  std::vector<bool> nullable_;  // [rules] may match nothing
  std::vector<uint32_t> rule_of_, short_view_;
  std::vector<Rule> rules_;
};

class GrammarBuilder {
 public:
  explicit GrammarBuilder(Budget* budget) : budget_(budget) {}
  // Its body comes later: rules may call themselves.
  uint32_t NewRule();
  void SetBody(uint32_t rule, Automaton body) { bodies_[rule] = std::move(body); }
  const Automaton& body(uint32_t rule) const { return bodies_[rule]; }
  Budget* budget() const { return budget_; }

  // Fails when the budget is exhausted, when no text matches `root`, and on rules that call themselves before
  // anything is read.
  Result<std::shared_ptr<const Grammar>> Build(uint32_t root);

 private:
  std::vector<bool> ProductiveRules() const;
  // Fills which rules may match nothing.
  Status CheckRecursion(const std::vector<Automaton>& bodies, std::vector<bool>* nullable_rules) const;

  Budget* budget_;
  std::vector<Automaton> bodies_;
};

}  // namespace deepshock
