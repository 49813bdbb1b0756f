// SPDX-License-Identifier: Apache-2.0
// Sets of Unicode characters, and how they are spelled in bytes: plainly in UTF-8, or inside a JSON string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/automaton.h"

namespace deepshock {

// Ranges of code points; surrogates are in none.
class CodePointSet {
 public:
  struct Range {
    uint32_t low, high;  // both included
  };
  static constexpr uint32_t kMax = 0x10FFFF;

  CodePointSet() = default;
  CodePointSet(std::initializer_list<Range> ranges) {
    for (const Range& range : ranges) Add(range.low, range.high);
  }
  void Add(uint32_t low, uint32_t high) { ranges_.push_back({low, high}); }
  void Add(const CodePointSet& other);
  // What is not in it.
  CodePointSet Complement() const;
  // Ascending, apart, without surrogates.
  std::vector<Range> ranges() const;

 private:
  std::vector<Range> ranges_;
};

enum class Spelling {
  kPlain,  // UTF-8
  kJson,   // inside a JSON string: as kPlain, but \" \\ \b \f \n \r \t, and \u00xx for other controls
};

// One character of the set.
void AddCharacter(Nfa* nfa, uint32_t from, const CodePointSet& set, Spelling spelling, uint32_t to);
// Any one character of a JSON string, in every way to spell it.
void AddJsonCharacter(Nfa* nfa, uint32_t from, uint32_t to);
// As kJson spells it; without quotes. `text` must be valid UTF-8.
std::string JsonSpelling(std::string_view text);

}  // namespace deepshock
