// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers: how normalized text is split into the words that BPE works on. Sequence, Split, Digits,
// ByteLevel, Metaspace, Punctuation, Whitespace and WhitespaceSplit of tokenizer.json; any other is refused
// by name. Immutable; used from many threads, each with its own PreTokenizeScratch.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"

namespace deepshock {

// What Hugging Face tokenizers does with what a pattern matches and with the text between matches.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct PreTokenizeScratch {
  RegexScratch regex;
  std::string_view text;  // the result: words are ranges of it
  std::vector<TextRange> words;
  // Only for PreTokenizer's own use.
  std::string buffer, next_buffer;
  std::string matching, next_matching;  // TextForMatching(text), where it differs
  std::vector<TextRange> next_words, matches;
};

class PreTokenizer {
 public:
  // Does nothing: the whole text is one word.
  PreTokenizer();
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // null: does nothing.
  static Result<PreTokenizer> FromJson(const nlohmann::json& json);
  // The given patterns as Splits with behavior Isolated, then ByteLevel without a pattern of its own.
  static Result<PreTokenizer> FromPatterns(const std::vector<std::string_view>& patterns);

  // True with a ByteLevel step: words are bytes, which the vocabulary spells in the byte-level alphabet.
  bool byte_level() const { return byte_level_; }

  // Fills scratch.text and scratch.words. `at_start`: the text begins where the whole input begins.
  void Split(std::string_view text, bool at_start, PreTokenizeScratch& scratch) const;

 private:
  struct Step;
  Status Add(const nlohmann::json& json, int depth);
  Status AddMetaspace(const nlohmann::json& json);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace deepshock
