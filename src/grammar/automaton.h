// SPDX-License-Identifier: Apache-2.0
// Finite automata over bytes, whose edges may also call another rule of the grammar: the bodies of rules. An
// Nfa is built edge by edge, Determinize makes an Automaton of it, where a state has at most one way on for a
// byte and one for each rule called. All of it spends from a Budget, because schemas are hostile: once that
// is exhausted every function returns soon, with something useless, and whoever owns the budget reports it.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace deepshock {

// What building one grammar may cost, in states and edges touched: 10 to 50 ns each.
class Budget {
 public:
  explicit Budget(int64_t steps) : left_(steps) {}
  // False when there is none left.
  bool Spend(int64_t steps) {
    left_ = left_ < steps ? -1 : left_ - steps;
    return left_ >= 0;
  }
  bool exhausted() const { return left_ < 0; }

 private:
  int64_t left_;
};

struct ByteEdge {
  uint8_t low, high;  // both included
  uint32_t target;
};
struct CallEdge {
  uint32_t rule, target;
};

// Deterministic. State 0 is where it begins; no states: it matches nothing.
struct Automaton {
  struct State {
    std::vector<ByteEdge> edges;  // ascending, apart
    std::vector<CallEdge> calls;  // ascending by rule
    bool accepting = false;
  };
  std::vector<State> states;

  // Whether it matches a text. Without calls only.
  bool Matches(std::string_view text) const;
};

class Nfa {
 public:
  static constexpr uint32_t kStart = 0, kEnd = 1;

  explicit Nfa(Budget* budget) : budget_(budget), states_(2) {}
  uint32_t NewState();
  void Epsilon(uint32_t from, uint32_t to);
  void Bytes(uint32_t from, uint8_t low, uint8_t high, uint32_t to);
  void Call(uint32_t from, uint32_t rule, uint32_t to);
  void Text(uint32_t from, std::string_view text, uint32_t to);
  // A copy of an automaton between two states.
  void Copy(uint32_t from, const Automaton& automaton, uint32_t to);

  struct State {
    std::vector<ByteEdge> edges;
    std::vector<CallEdge> calls;
    std::vector<uint32_t> epsilons;
  };
  const std::vector<State>& states() const { return states_; }
  Budget* budget() const { return budget_; }

 private:
  Budget* budget_;
  std::vector<State> states_;
};

Automaton Determinize(const Nfa& nfa);
// What both match, and what only the first matches. Without calls only.
Automaton Intersect(const Automaton& a, const Automaton& b, Budget* budget);
Automaton Minus(const Automaton& a, const Automaton& b, Budget* budget);
// Drops the states that no end is reached from, given which rules match anything.
Automaton Trim(const Automaton& automaton, const std::vector<bool>& productive_rules);

}  // namespace deepshock
