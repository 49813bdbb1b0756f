// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_grammar.h"

#include <algorithm>
#include <utility>

namespace deepshock {
namespace {

void SetBit(std::span<uint32_t> mask, int32_t token) {
  mask[static_cast<size_t>(token) / 32] |= uint32_t{1} << token % 32;
}

}  // namespace

TokenGrammar::TokenGrammar(std::shared_ptr<const Grammar> grammar,
                           std::shared_ptr<const TokenVocabulary> vocabulary)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      short_masks_(grammar_->num_states()),
      long_masks_(grammar_->num_states()) {}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::ShortMask(uint32_t state) {
  return Keep(short_masks_, grammar_->short_view(state), vocabulary_->short_tokens());
}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::LongMask(uint32_t state) {
  return Keep(long_masks_, state, vocabulary_->long_tokens());
}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::Keep(Masks& masks, uint32_t state,
                                                                  const TokenTrie& trie) {
  const std::lock_guard lock(mutex_);
  if (masks[state] == nullptr) {
    if (mask_bytes_ > kMaxMaskBytes) {
      std::fill(short_masks_.begin(), short_masks_.end(), nullptr);
      std::fill(long_masks_.begin(), long_masks_.end(), nullptr);
      mask_bytes_ = 0;
    }
    masks[state] = Walk(state, trie);
    mask_bytes_ += masks[state]->bytes();
  }
  return masks[state];
}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::Walk(uint32_t state, const TokenTrie& trie) {
  constexpr size_t kMaxSets = 4096;  // 4 MiB of tables
  if (machine_ == nullptr || machine_->num_sets() > kMaxSets)
    machine_ = std::make_unique<StackMachine>(*grammar_, true);
  auto result = std::make_shared<StateMask>();
  std::vector<uint32_t> path(trie.max_depth() + 1);
  path[0] = machine_->Start(state);
  for (uint32_t node = 1; node < trie.num_nodes();) {
    const size_t depth = trie.depth(node);
    const uint32_t set = machine_->Step(path[depth - 1], trie.byte(node));
    if (set == StackMachine::kDead) {
      node = trie.subtree_end(node);
      continue;
    }
    path[depth] = set;
    const auto tokens = trie.tokens(node);
    result->tokens.insert(result->tokens.end(), tokens.begin(), tokens.end());
    if (machine_->ended(set) && trie.subtree_end(node) > node + 1) result->exits.push_back(node);
    ++node;
  }
  if (result->tokens.size() > vocabulary_->mask_words()) {
    result->bits.resize(vocabulary_->mask_words());
    for (const int32_t token : result->tokens) SetBit(result->bits, token);
    result->tokens.clear();
  }
  result->tokens.shrink_to_fit();
  return result;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<TokenGrammar> grammar)
    : grammar_(std::move(grammar)),
      machine_(grammar_->grammar(), false),
      set_(machine_.Start(grammar_->grammar().start())),
      path_(TokenTrie::kMaxBytes + 1) {}

void GrammarMatcher::AllowBelow(const TokenTrie& trie, uint32_t node, uint32_t set,
                                std::span<uint32_t> mask) {
  path_[trie.depth(node)] = set;
  const uint32_t end = trie.subtree_end(node);
  for (++node; node < end;) {
    const size_t depth = trie.depth(node);
    const uint32_t next = machine_.Step(path_[depth - 1], trie.byte(node));
    if (next == StackMachine::kDead) {
      node = trie.subtree_end(node);
      continue;
    }
    path_[depth] = next;
    for (const int32_t token : trie.tokens(node)) SetBit(mask, token);
    ++node;
  }
}

// `after`: where the state's rule has ended.
void GrammarMatcher::Allow(const TokenGrammar::StateMask& state, const TokenTrie& trie, uint32_t after,
                           std::span<uint32_t> mask) {
  for (size_t i = 0; i < state.bits.size(); ++i) mask[i] |= state.bits[i];
  for (const int32_t token : state.tokens) SetBit(mask, token);
  if (after == StackMachine::kDead) return;
  for (const uint32_t exit : state.exits) AllowBelow(trie, exit, after, mask);
}

void GrammarMatcher::Allowed(std::span<uint32_t> mask) {
  std::fill(mask.begin(), mask.end(), 0u);
  if (finished_ || mask.size() < grammar_->vocabulary().mask_words()) return;
  // A copy: walking makes more sets.
  const auto span = machine_.configurations(set_);
  const std::vector<StackMachine::Configuration> configurations(span.begin(), span.end());
  for (const StackMachine::Configuration& c : configurations) {
    const uint32_t after = machine_.Return(c.stack);
    Allow(*grammar_->ShortMask(c.state), grammar_->vocabulary().short_tokens(), after, mask);
    Allow(*grammar_->LongMask(c.state), grammar_->vocabulary().long_tokens(), after, mask);
  }
  if (!machine_.ended(set_)) return;
  for (const int32_t token : grammar_->vocabulary().end_tokens()) SetBit(mask, token);
}

bool GrammarMatcher::Accept(int32_t token) {
  const TokenVocabulary& vocabulary = grammar_->vocabulary();
  if (finished_ || token < 0 || token >= vocabulary.size()) return false;
  if (vocabulary.is_end(token)) return finished_ = machine_.ended(set_);
  const std::string_view bytes = vocabulary.bytes(token);
  uint32_t set = bytes.empty() ? StackMachine::kDead : set_;
  for (const char c : bytes) set = machine_.Step(set, static_cast<uint8_t>(c));
  if (set == StackMachine::kDead) return false;
  set_ = machine_.num_sets() > kMaxSets ? machine_.Compact(set) : set;
  return true;
}

}  // namespace deepshock
