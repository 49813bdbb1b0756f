// SPDX-License-Identifier: Apache-2.0
// A compiled regular expression (PCRE2, just-in-time compiled where the machine allows it). Patterns are
// written in Oniguruma's syntax, as tokenizer.json has them. Immutable; used from many threads, each with its
// own RegexScratch. Subjects must be valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
};

// What one thread's matching needs: PCRE2's match data and stacks. Not shared between threads.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Regex {
 public:
  static Result<Regex> Compile(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Fills `matches` with the non-overlapping matches, left to right. An empty match directly after another
  // match does not count (as in Oniguruma's find_iter). A pattern that backtracks past the match limit finds
  // nothing more: the time stays bounded whatever the file's pattern is.
  void FindAll(std::string_view subject, RegexScratch& scratch, std::vector<TextRange>* matches) const;

  // False where the machine forbids generated code; matching is the same, only slower.
  bool is_jitted() const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// PCRE2 knows the characters of its own Unicode version (14 in Debian 12); Hugging Face tokenizers' engine
// knows Unicode 16. Returns `text` with every character that the two may class differently replaced by an
// older one of the same general category and the same length, for matching only; empty when there is none,
// which is the usual case.
std::string TextForMatching(std::string_view text);
// The same for one character; itself where nothing differs.
uint32_t CharForMatching(uint32_t code_point);

}  // namespace deepshock
