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
    : grammar_(std::move(grammar)), vocabulary_(std::move(vocabulary)), masks_(grammar_->num_states()) {}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::MaskOf(uint32_t state) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const StateMask>& mask = masks_[state];
  if (mask == nullptr) {
    if (mask_bytes_ > kMaxMaskBytes) {
      std::fill(masks_.begin(), masks_.end(), nullptr);
      mask_bytes_ = 0;
    }
    mask = Walk(state);
    mask_bytes_ += mask->bytes();
  }
  return mask;
}

std::shared_ptr<const TokenGrammar::StateMask> TokenGrammar::Walk(uint32_t state) {
  constexpr size_t kMaxSets = 4096;  // 4 MiB of tables
  if (machine_ == nullptr || machine_->num_sets() > kMaxSets)
    machine_ = std::make_unique<StackMachine>(*grammar_, true);
  const TokenVocabulary& trie = *vocabulary_;
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
  if (result->tokens.size() > trie.mask_words()) {
    result->bits.resize(trie.mask_words());
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
      path_(grammar_->vocabulary().max_depth() + 1) {}

void GrammarMatcher::AllowBelow(uint32_t node, uint32_t set, std::span<uint32_t> mask) {
  const TokenVocabulary& trie = grammar_->vocabulary();
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

void GrammarMatcher::Allowed(std::span<uint32_t> mask) {
  std::fill(mask.begin(), mask.end(), 0u);
  if (finished_ || mask.size() < grammar_->vocabulary().mask_words()) return;
  // A copy: walking makes more sets.
  const auto span = machine_.configurations(set_);
  const std::vector<StackMachine::Configuration> configurations(span.begin(), span.end());
  for (const StackMachine::Configuration& c : configurations) {
    const auto state = grammar_->MaskOf(c.state);
    for (size_t i = 0; i < state->bits.size(); ++i) mask[i] |= state->bits[i];
    for (const int32_t token : state->tokens) SetBit(mask, token);
    if (state->exits.empty()) continue;
    const uint32_t after = machine_.Return(c.stack);
    if (after == StackMachine::kDead) continue;
    for (const uint32_t exit : state->exits) AllowBelow(exit, after, mask);
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
