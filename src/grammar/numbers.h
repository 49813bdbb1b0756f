// SPDX-License-Identifier: Apache-2.0
// JSON numbers within bounds, as automata over their digits: at most kMaxSignificantDigits in all, which a
// double holds apart, so that whoever reads the number as one finds it within its bounds too. Integers have
// more only where a bound has, up to kMaxIntegerDigits, which 64 bits hold.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "grammar/automaton.h"

namespace deepshock {

constexpr int kMaxIntegerDigits = 18;
constexpr int kMaxSignificantDigits = 15;
constexpr int64_t kMaxMultipleOf = 10000;

// A decimal number: 0 <= its size < 10^kMaxIntegerDigits, or beyond that.
struct Decimal {
  bool negative = false;
  bool beyond = false;   // of a size that is never written
  std::string integer;   // without leading zeros: "" is 0
  std::string fraction;  // without trailing zeros

  // Of the number's shortest text, "1e-07" included.
  static Decimal Parse(const std::string& text);
  bool is_zero() const { return !beyond && integer.empty() && fraction.empty(); }
};

struct NumberRange {
  std::optional<Decimal> low, high;
  bool low_excluded = false, high_excluded = false;
  bool only_integers = false;
};

// Without exponents where there are bounds; without bounds numbers may have one of two digits.
void AddNumber(Nfa* nfa, uint32_t from, const NumberRange& range, uint32_t to);
// Multiples of a decimal number above 0, whose digits make at most kMaxMultipleOf.
Status AddMultiples(Nfa* nfa, uint32_t from, const Decimal& of, uint32_t to);

}  // namespace deepshock
