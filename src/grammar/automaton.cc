// SPDX-License-Identifier: Apache-2.0
#include "grammar/automaton.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <unordered_map>

namespace deepshock {
namespace {

using Set = std::vector<uint32_t>;  // ascending

struct SetHash {
  size_t operator()(const Set& set) const {
    uint64_t hash = 0xcbf29ce484222325;
    for (const uint32_t x : set) hash = (hash ^ x) * 0x100000001b3;
    return static_cast<size_t>(hash);
  }
};

// States of one automaton by what they stand for in another, in the order in which they were found.
template <typename Key, typename Hash>
class Numbering {
 public:
  uint32_t operator()(const Key& key) {
    const auto [at, is_new] = numbers_.try_emplace(key, static_cast<uint32_t>(keys_.size()));
    if (is_new) keys_.push_back(&at->first);
    return at->second;
  }
  size_t size() const { return keys_.size(); }
  const Key& operator[](size_t i) const { return *keys_[i]; }

 private:
  std::unordered_map<Key, uint32_t, Hash> numbers_;
  std::vector<const Key*> keys_;
};

void Close(const Nfa& nfa, Set* set) {
  std::sort(set->begin(), set->end());
  set->erase(std::unique(set->begin(), set->end()), set->end());
  Set todo = *set;
  while (!todo.empty()) {
    const uint32_t state = todo.back();
    todo.pop_back();
    for (const uint32_t next : nfa.states()[state].epsilons) {
      const auto at = std::lower_bound(set->begin(), set->end(), next);
      if (at != set->end() && *at == next) continue;
      set->insert(at, next);
      todo.push_back(next);
    }
  }
}

void AddEdge(Automaton::State* state, uint8_t low, uint8_t high, uint32_t target) {
  if (!state->edges.empty() && state->edges.back().target == target && state->edges.back().high + 1 == low) {
    state->edges.back().high = high;
  } else {
    state->edges.push_back({low, high, target});
  }
}

// Where the ranges of edges begin and end: between two neighbours every byte leads to the same places.
template <typename Visit>
void MarkBorders(const std::vector<ByteEdge>& edges, Visit&& mark) {
  for (const ByteEdge& edge : edges) {
    mark(edge.low);
    mark(edge.high + 1);
  }
}

const ByteEdge* FindEdge(const Automaton::State& state, int byte) {
  for (const ByteEdge& edge : state.edges) {
    if (byte <= edge.high) return byte >= edge.low ? &edge : nullptr;
  }
  return nullptr;
}

// What a matches and b matches too; or, to leave that out, does not.
Automaton Product(const Automaton& a, const Automaton& b, bool leave_out, Budget* budget) {
  Automaton result;
  if (a.states.empty()) return result;
  constexpr uint32_t kNowhere = ~uint32_t{0};
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> numbers;
  std::deque<std::pair<uint32_t, uint32_t>> todo;
  const auto number = [&](std::pair<uint32_t, uint32_t> key) {
    const auto [at, is_new] = numbers.try_emplace(key, static_cast<uint32_t>(numbers.size()));
    if (is_new) todo.push_back(key);
    return at->second;
  };
  number({0, b.states.empty() ? kNowhere : 0});
  while (!todo.empty()) {
    const auto [x, y] = todo.front();
    todo.pop_front();
    const Automaton::State& from = a.states[x];
    const Automaton::State* other = y == kNowhere ? nullptr : &b.states[y];
    if (!budget->Spend(8 + 2 * static_cast<int64_t>(from.edges.size()))) return {};
    Automaton::State state;
    const bool second = other != nullptr && other->accepting;
    state.accepting = from.accepting && second != leave_out;
    for (const ByteEdge& edge : from.edges) {
      for (int low = edge.low; low <= edge.high;) {
        const ByteEdge* way = other != nullptr ? FindEdge(*other, low) : nullptr;
        int high = edge.high;
        if (way != nullptr) {
          high = std::min<int>(high, way->high);
        } else if (other != nullptr) {
          for (const ByteEdge& later : other->edges) {
            if (later.low > low) {
              high = std::min<int>(high, later.low - 1);
              break;
            }
          }
        }
        if (way != nullptr || leave_out) {
          const uint32_t target = number({edge.target, way != nullptr ? way->target : kNowhere});
          AddEdge(&state, static_cast<uint8_t>(low), static_cast<uint8_t>(high), target);
        }
        low = high + 1;
      }
    }
    result.states.push_back(std::move(state));
  }
  return Trim(result, {});
}

}  // namespace

bool Automaton::Matches(std::string_view text) const {
  if (states.empty()) return false;
  uint32_t state = 0;
  for (const char c : text) {
    const ByteEdge* edge = FindEdge(states[state], static_cast<uint8_t>(c));
    if (edge == nullptr) return false;
    state = edge->target;
  }
  return states[state].accepting;
}

uint32_t Nfa::NewState() {
  if (!budget_->Spend(10)) return kStart;
  states_.emplace_back();
  return static_cast<uint32_t>(states_.size() - 1);
}

void Nfa::Epsilon(uint32_t from, uint32_t to) {
  if (budget_->Spend(1)) states_[from].epsilons.push_back(to);
}

void Nfa::Bytes(uint32_t from, uint8_t low, uint8_t high, uint32_t to) {
  if (budget_->Spend(1)) states_[from].edges.push_back({low, high, to});
}

void Nfa::Call(uint32_t from, uint32_t rule, uint32_t to) {
  if (budget_->Spend(1)) states_[from].calls.push_back({rule, to});
}

void Nfa::Text(uint32_t from, std::string_view text, uint32_t to) {
  for (const char c : text) {
    const uint32_t next = NewState();
    Bytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
    from = next;
  }
  Epsilon(from, to);
}

void Nfa::Copy(uint32_t from, const Automaton& automaton, uint32_t to) {
  if (automaton.states.empty() || !budget_->Spend(10 * static_cast<int64_t>(automaton.states.size()))) return;
  const auto base = static_cast<uint32_t>(states_.size());
  states_.resize(states_.size() + automaton.states.size());
  Epsilon(from, base);
  for (size_t i = 0; i < automaton.states.size(); ++i) {
    const auto state = base + static_cast<uint32_t>(i);
    for (const ByteEdge& edge : automaton.states[i].edges)
      Bytes(state, edge.low, edge.high, base + edge.target);
    for (const CallEdge& call : automaton.states[i].calls) Call(state, call.rule, base + call.target);
    if (automaton.states[i].accepting) Epsilon(state, to);
  }
}

Automaton Determinize(const Nfa& nfa) {
  Automaton result;
  Numbering<Set, SetHash> numbering;
  Budget* const budget = nfa.budget();
  Set start = {Nfa::kStart};
  Close(nfa, &start);
  numbering(start);
  for (size_t i = 0; i < numbering.size(); ++i) {
    const Set set = numbering[i];
    Automaton::State state;
    std::array<bool, 257> borders{};
    std::vector<ByteEdge> edges;
    std::map<uint32_t, Set> calls;
    if (!budget->Spend(10 + static_cast<int64_t>(set.size()))) return {};
    for (const uint32_t s : set) {
      const Nfa::State& from = nfa.states()[s];
      state.accepting = state.accepting || s == Nfa::kEnd;
      edges.insert(edges.end(), from.edges.begin(), from.edges.end());
      for (const CallEdge& call : from.calls) calls[call.rule].push_back(call.target);
    }
    MarkBorders(edges, [&](int border) { borders[static_cast<size_t>(border)] = true; });
    for (size_t low = 0; low < 256;) {
      size_t next = low + 1;
      while (next < 256 && !borders[next]) ++next;
      Set targets;
      for (const ByteEdge& edge : edges) {
        if (edge.low <= low && low <= edge.high) targets.push_back(edge.target);
      }
      if (!targets.empty()) {
        if (!budget->Spend(static_cast<int64_t>(edges.size() + targets.size()))) return {};
        Close(nfa, &targets);
        AddEdge(&state, static_cast<uint8_t>(low), static_cast<uint8_t>(next - 1), numbering(targets));
      }
      low = next;
    }
    for (auto& [rule, targets] : calls) {
      Close(nfa, &targets);
      state.calls.push_back({rule, numbering(targets)});
    }
    result.states.push_back(std::move(state));
  }
  return result;
}

Automaton Intersect(const Automaton& a, const Automaton& b, Budget* budget) {
  return b.states.empty() ? Automaton() : Product(a, b, false, budget);
}

Automaton Minus(const Automaton& a, const Automaton& b, Budget* budget) {
  return Product(a, b, true, budget);
}

Automaton Trim(const Automaton& automaton, const std::vector<bool>& productive_rules) {
  const size_t n = automaton.states.size();
  const auto passable = [&](uint32_t rule) { return productive_rules[rule]; };
  std::vector<std::vector<uint32_t>> before(n);
  std::vector<bool> live(n);
  std::vector<uint32_t> todo;
  for (size_t i = 0; i < n; ++i) {
    const auto from = static_cast<uint32_t>(i);
    for (const ByteEdge& edge : automaton.states[i].edges) before[edge.target].push_back(from);
    for (const CallEdge& call : automaton.states[i].calls) {
      if (passable(call.rule)) before[call.target].push_back(from);
    }
    if (!automaton.states[i].accepting) continue;
    live[i] = true;
    todo.push_back(from);
  }
  while (!todo.empty()) {
    const uint32_t state = todo.back();
    todo.pop_back();
    for (const uint32_t from : before[state]) {
      if (live[from]) continue;
      live[from] = true;
      todo.push_back(from);
    }
  }
  Automaton result;
  if (n == 0 || !live[0]) return result;
  // Only those that are reached too, in the order of a search from the start.
  std::vector<uint32_t> order = {0};
  std::vector<uint32_t> number(n, ~uint32_t{0});
  number[0] = 0;
  const auto visit = [&](uint32_t target) {
    if (number[target] != ~uint32_t{0}) return number[target];
    number[target] = static_cast<uint32_t>(order.size());
    order.push_back(target);
    return number[target];
  };
  for (size_t i = 0; i < order.size(); ++i) {
    const Automaton::State& from = automaton.states[order[i]];
    Automaton::State state;
    state.accepting = from.accepting;
    for (const ByteEdge& edge : from.edges) {
      if (live[edge.target]) AddEdge(&state, edge.low, edge.high, visit(edge.target));
    }
    for (const CallEdge& call : from.calls) {
      if (live[call.target] && passable(call.rule)) state.calls.push_back({call.rule, visit(call.target)});
    }
    result.states.push_back(std::move(state));
  }
  return result;
}

}  // namespace deepshock
