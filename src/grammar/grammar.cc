// SPDX-License-Identifier: Apache-2.0
#include "grammar/grammar.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace deepshock {

namespace {

struct KeyHash {
  size_t operator()(const std::vector<uint32_t>& key) const {
    uint64_t hash = 0xcbf29ce484222325;
    for (const uint32_t x : key) hash = (hash ^ x) * 0x100000001b3;
    return static_cast<size_t>(hash ^ hash >> 29);
  }
};

}  // namespace

// Moore's refinement, one round a byte: states are alike for n + 1 bytes when they end alike, read the same
// bytes and call the same rules, and get to states alike for n. A rule called must read something for that to
// hold, so rules with calls of others keep their states apart.
void Grammar::FindShortViews(Budget* budget) {
  short_view_.resize(num_states());
  for (uint32_t s = 0; s < num_states(); ++s) short_view_[s] = s;
  for (const Rule& rule : rules_) {
    const uint32_t first = rule.first_state, end = first + rule.num_states;
    bool reads = true;
    for (uint32_t s = first; s < end; ++s) {
      for (const Call& call : calls(s)) reads = reads && !nullable_[rule_of_[call.callee]];
    }
    if (!reads || rule.num_states < 2) continue;
    std::vector<uint32_t> views(rule.num_states), next(rule.num_states);
    size_t num_views = 1;
    for (int round = 0; round <= kShortView && budget->Spend(10 * int64_t{rule.num_states}); ++round) {
      std::unordered_map<std::vector<uint32_t>, uint32_t, KeyHash> known;
      for (uint32_t s = first; s < end; ++s) {
        std::vector<uint32_t> key = {views[s - first], accepting(s) ? 1u : 0u};
        for (const ByteEdge& edge : edges(s)) {
          // Neighbours that lead to what looks alike are one.
          const uint32_t view = views[edge.target - first];
          if (key.size() >= 4 && key.back() == view && (key[key.size() - 2] & 0xff) + 1 == edge.low) {
            key[key.size() - 2] = (key[key.size() - 2] & ~0xffu) | edge.high;
          } else {
            key.insert(key.end(), {uint32_t{edge.low} << 8 | edge.high, view});
          }
        }
        key.push_back(~uint32_t{0});
        for (const Call& call : calls(s)) key.insert(key.end(), {call.callee, views[call.target - first]});
        next[s - first] =
            known.try_emplace(std::move(key), static_cast<uint32_t>(known.size())).first->second;
      }
      views.swap(next);
      if (known.size() == num_views) break;
      num_views = known.size();
    }
    if (budget->exhausted()) continue;
    std::vector<uint32_t> representative(rule.num_states, ~uint32_t{0});
    for (uint32_t s = first; s < end; ++s) {
      uint32_t& chosen = representative[views[s - first]];
      if (chosen == ~uint32_t{0}) chosen = s;
      short_view_[s] = chosen;
    }
  }
}

uint32_t GrammarBuilder::NewRule() {
  if (!budget_->Spend(10) && !bodies_.empty()) return 0;
  bodies_.emplace_back();
  return static_cast<uint32_t>(bodies_.size() - 1);
}

// Whose language is not empty: to a fixed point.
std::vector<bool> GrammarBuilder::ProductiveRules() const {
  std::vector<bool> productive(bodies_.size());
  for (bool changed = true; changed && budget_->Spend(1);) {
    changed = false;
    for (size_t i = bodies_.size(); i-- > 0;) {  // those that are called mostly come later
      if (productive[i] || !budget_->Spend(static_cast<int64_t>(bodies_[i].states.size()))) continue;
      if (Trim(bodies_[i], productive).states.empty()) continue;
      productive[i] = true;
      changed = true;
    }
  }
  return productive;
}

Status GrammarBuilder::CheckRecursion(const std::vector<Automaton>& bodies,
                                      std::vector<bool>* nullable_rules) const {
  // Which rules may match nothing, to a fixed point; and which each calls before it reads anything.
  std::vector<bool>& nullable = *nullable_rules;
  nullable.assign(bodies.size(), false);
  std::vector<std::vector<uint32_t>> first_calls(bodies.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < bodies.size(); ++i) {
      first_calls[i].clear();
      if (bodies[i].states.empty()) continue;
      std::vector<bool> seen(bodies[i].states.size());
      std::vector<uint32_t> todo = {0};
      seen[0] = true;
      while (!todo.empty()) {
        const Automaton::State& state = bodies[i].states[todo.back()];
        todo.pop_back();
        if (!budget_->Spend(1 + static_cast<int64_t>(state.calls.size()))) return {};
        if (state.accepting && !nullable[i]) nullable[i] = changed = true;
        for (const CallEdge& call : state.calls) {
          first_calls[i].push_back(call.rule);
          if (!nullable[call.rule] || seen[call.target]) continue;
          seen[call.target] = true;
          todo.push_back(call.target);
        }
      }
    }
  }
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> marks(bodies.size(), kNew);
  for (size_t root = 0; root < bodies.size(); ++root) {
    if (marks[root] != kNew) continue;
    std::vector<std::pair<size_t, size_t>> path = {{root, 0}};  // rule, next call to follow
    marks[root] = kOpen;
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      if (next == first_calls[rule].size()) {
        marks[rule] = kDone;
        path.pop_back();
        continue;
      }
      const uint32_t called = first_calls[rule][next++];
      if (marks[called] == kOpen) return Fail("expected recursion that reads something first, found a loop");
      if (marks[called] == kDone) continue;
      marks[called] = kOpen;
      path.emplace_back(called, 0);
    }
  }
  return {};
}

Result<std::shared_ptr<const Grammar>> GrammarBuilder::Build(uint32_t root) {
  const auto too_large = [] {
    return Fail("expected a schema that compiles in bounded time and memory: it is too large");
  };
  if (budget_->exhausted()) return too_large();
  const std::vector<bool> productive = ProductiveRules();
  if (budget_->exhausted()) return too_large();
  if (!productive[root]) return Fail("no value satisfies it");
  std::vector<Automaton> bodies;
  for (const Automaton& body : bodies_) bodies.push_back(Trim(body, productive));
  std::vector<bool> nullable;
  DS_RETURN_IF_ERROR(CheckRecursion(bodies, &nullable));
  if (budget_->exhausted()) return too_large();

  // Only rules that the root reaches.
  auto grammar = std::make_shared<Grammar>();
  std::vector<uint32_t> order = {root}, first_state(bodies.size());
  std::vector<bool> reached(bodies.size());
  reached[root] = true;
  uint32_t num_states = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const Automaton& body = bodies[order[i]];
    first_state[order[i]] = num_states;
    num_states += static_cast<uint32_t>(body.states.size());
    for (const Automaton::State& state : body.states) {
      for (const CallEdge& call : state.calls) {
        if (!reached[call.rule]) order.push_back(call.rule);
        reached[call.rule] = true;
      }
    }
    grammar->nullable_.push_back(nullable[order[i]]);
    grammar->rules_.push_back({first_state[order[i]], static_cast<uint32_t>(body.states.size())});
  }
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t first = first_state[order[i]];
    for (const Automaton::State& state : bodies[order[i]].states) {
      for (ByteEdge edge : state.edges) {
        edge.target += first;
        grammar->edges_.push_back(edge);
      }
      for (const CallEdge& call : state.calls)
        grammar->calls_.push_back({first_state[call.rule], first + call.target});
      grammar->first_edge_.push_back(static_cast<uint32_t>(grammar->edges_.size()));
      grammar->first_call_.push_back(static_cast<uint32_t>(grammar->calls_.size()));
      grammar->accepting_.push_back(state.accepting);
      grammar->rule_of_.push_back(static_cast<uint32_t>(i));
    }
  }
  grammar->FindShortViews(budget_);
  if (budget_->exhausted()) return too_large();
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

}  // namespace deepshock
