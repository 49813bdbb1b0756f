// SPDX-License-Identifier: Apache-2.0
// TokenGrammar: a grammar in the tokens of one vocabulary, and GrammarMatcher, one output under way in it.
//
// Which tokens may follow a state does mostly not depend on the stack below it: such tokens are found once
// for a state, by a walk over the trie of the vocabulary, and kept. Where the state's rule may end inside a
// token, the walk notes the node ("exit"), and each step's mask goes on from there with the real stack; what
// is below the exits is small. A TokenGrammar may be used from many threads, a matcher from one.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/stack_machine.h"
#include "grammar/token_vocabulary.h"

namespace deepshock {

class TokenGrammar {
 public:
  // What is kept of states' masks; beyond that all are dropped and made again as they are needed.
  static constexpr size_t kMaxMaskBytes = size_t{64} << 20;

  TokenGrammar(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenVocabulary> vocabulary);

  struct StateMask {
    std::vector<uint32_t> bits;  // [mask_words]; empty: few, in `tokens`
    std::vector<int32_t> tokens;
    std::vector<uint32_t> exits;  // nodes with something below them
    size_t bytes() const { return 64 + 4 * (bits.size() + tokens.size() + exits.size()); }
  };
  // Of the short tokens, and of the long ones.
  std::shared_ptr<const StateMask> ShortMask(uint32_t state);
  std::shared_ptr<const StateMask> LongMask(uint32_t state);

  const Grammar& grammar() const { return *grammar_; }
  const TokenVocabulary& vocabulary() const { return *vocabulary_; }

 private:
  using Masks = std::vector<std::shared_ptr<const StateMask>>;  // [states]
  std::shared_ptr<const StateMask> Keep(Masks& masks, uint32_t state, const TokenTrie& trie);
  std::shared_ptr<const StateMask> Walk(uint32_t state, const TokenTrie& trie);

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  std::mutex mutex_;
  Masks short_masks_, long_masks_;
  size_t mask_bytes_ = 0;
  std::unique_ptr<StackMachine> machine_;
};

class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<TokenGrammar> grammar);

  // Sets the bits of the tokens that may come next, clears the others; [mask_words] or more. The tokens that
  // end an output where it may end; none after one of them.
  void Allowed(std::span<uint32_t> mask);
  // Goes on with a token; false, and nothing changes, where it may not come.
  bool Accept(int32_t token);
  // The output is complete as it is.
  bool CanEnd() const { return !finished_ && machine_.ended(set_); }

 private:
  // More sets than this are forgotten: some 50 KiB for each output under way.
  static constexpr size_t kMaxSets = 512;

  void Allow(const TokenGrammar::StateMask& state, const TokenTrie& trie, uint32_t after,
             std::span<uint32_t> mask);
  void AllowBelow(const TokenTrie& trie, uint32_t node, uint32_t set, std::span<uint32_t> mask);

  std::shared_ptr<TokenGrammar> grammar_;
  StackMachine machine_;
  uint32_t set_;
  bool finished_ = false;
  std::vector<uint32_t> path_;  // sets by depth in the trie
};

}  // namespace deepshock
