// SPDX-License-Identifier: Apache-2.0
#include "grammar/numbers.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <tuple>

namespace deepshock {
namespace {

void AddDigits(Nfa* nfa, uint32_t from, int low, int high, uint32_t to) {
  if (low <= high) nfa->Bytes(from, static_cast<uint8_t>('0' + low), static_cast<uint8_t>('0' + high), to);
}

// Numbers of at least 0 with `length` digits before the point, digit by digit: whether what is written so far
// equals the bound's beginning tells how the next digit is bound.
class Digits {
 public:
  struct Bound {
    const Decimal* value = nullptr;  // null: none
    bool excluded = false;
  };
  Digits(Nfa* nfa, Bound low, Bound high, bool only_integers, int length, uint32_t to)
      : nfa_(nfa), low_(low), high_(high), only_integers_(only_integers), length_(length), to_(to) {}

  void Add(uint32_t from) {
    const int size = std::max(1, Length(low_));
    if (low_.value != nullptr && (low_.value->beyond || size > length_)) return;
    if (high_.value != nullptr && !high_.value->beyond && std::max(1, Length(high_)) < length_) return;
    const bool low_tight = low_.value != nullptr && size == length_;
    const bool high_tight =
        high_.value != nullptr && !high_.value->beyond && std::max(1, Length(high_)) == length_;
    nfa_->Epsilon(from, At(0, low_tight, high_tight));
  }

 private:
  static int Length(const Bound& bound) {
    return bound.value == nullptr ? 0 : static_cast<int>(bound.value->integer.size());
  }
  // Digit number i of those written, or of the bound.
  int DigitOf(const Bound& bound, int i) const {
    const std::string& integer = bound.value->integer;
    const std::string& fraction = bound.value->fraction;
    if (i < length_) return integer.empty() ? 0 : integer[static_cast<size_t>(i)] - '0';
    const auto j = static_cast<size_t>(i - length_);
    return j < fraction.size() ? fraction[j] - '0' : 0;
  }
  bool HasMore(const Bound& bound, int i) const {
    return i - length_ < static_cast<int>(bound.value->fraction.size());
  }

  uint32_t At(int i, bool low_tight, bool high_tight) {
    const auto [found, is_new] = states_.try_emplace({i, low_tight, high_tight}, 0);
    if (!is_new) return found->second;
    const uint32_t state = nfa_->NewState();
    found->second = state;
    uint32_t digits_from = state;
    if (i >= length_) {
      const bool low_holds = !low_tight || (!HasMore(low_, i) && !low_.excluded);
      const bool high_holds = !high_tight || HasMore(high_, i) || !high_.excluded;
      if (low_holds && high_holds) nfa_->Epsilon(state, to_);
      if (only_integers_ || i - length_ >= std::max(0, kMaxSignificantDigits - length_)) return state;
      if (i == length_) {
        digits_from = nfa_->NewState();
        nfa_->Bytes(state, '.', '.', digits_from);
      }
    }
    const int least = i == 0 && length_ > 1 ? 1 : 0;
    const int low = low_tight ? std::max(least, DigitOf(low_, i)) : least;
    const int high = high_tight ? DigitOf(high_, i) : 9;
    for (int digit = low; digit <= high && !nfa_->budget()->exhausted(); ++digit) {
      const bool stays_low = low_tight && digit == DigitOf(low_, i);
      const bool stays_high = high_tight && digit == DigitOf(high_, i);
      AddDigits(nfa_, digits_from, digit, digit, At(i + 1, stays_low, stays_high));
    }
    return state;
  }

  Nfa* nfa_;
  Bound low_, high_;
  bool only_integers_;
  int length_;
  uint32_t to_;
  std::map<std::tuple<int, bool, bool>, uint32_t> states_;
};

// With any sign and size, and an exponent.
void AddFreeNumber(Nfa* nfa, uint32_t from, bool only_integers, uint32_t to) {
  const uint32_t unsigned_part = nfa->NewState(), whole = nfa->NewState();
  nfa->Epsilon(from, unsigned_part);
  nfa->Bytes(from, '-', '-', unsigned_part);
  nfa->Bytes(unsigned_part, '0', '0', whole);
  uint32_t digit = nfa->NewState();
  nfa->Bytes(unsigned_part, '1', '9', digit);
  for (int i = 1; i < kMaxSignificantDigits; ++i) {
    const uint32_t next = nfa->NewState();
    nfa->Epsilon(digit, whole);
    nfa->Bytes(digit, '0', '9', next);
    digit = next;
  }
  nfa->Epsilon(digit, whole);
  nfa->Epsilon(whole, to);
  if (only_integers) return;
  const uint32_t fraction = nfa->NewState();
  uint32_t state = nfa->NewState();
  nfa->Bytes(whole, '.', '.', state);
  for (int i = 0; i < kMaxSignificantDigits; ++i) {
    const uint32_t next = nfa->NewState();
    nfa->Bytes(state, '0', '9', next);
    nfa->Epsilon(next, fraction);
    state = next;
  }
  nfa->Epsilon(fraction, to);
  const uint32_t exponent = nfa->NewState(), sign = nfa->NewState(), second = nfa->NewState();
  for (const uint32_t before : {whole, fraction}) {
    nfa->Bytes(before, 'e', 'e', exponent);
    nfa->Bytes(before, 'E', 'E', exponent);
  }
  nfa->Epsilon(exponent, sign);
  nfa->Bytes(exponent, '+', '+', sign);
  nfa->Bytes(exponent, '-', '-', sign);
  nfa->Bytes(sign, '0', '9', second);
  nfa->Bytes(second, '0', '9', to);
  nfa->Epsilon(second, to);
}

}  // namespace

Decimal Decimal::Parse(const std::string& text) {
  Decimal result;
  std::string digits;
  int64_t point = -1, exponent = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-') result.negative = true;
    if (c >= '0' && c <= '9') digits += c;
    if (c == '.') point = static_cast<int64_t>(digits.size());
    if (c == 'e' || c == 'E') {
      exponent = std::strtoll(text.c_str() + i + 1, nullptr, 10);
      break;
    }
  }
  if (point < 0) point = static_cast<int64_t>(digits.size());
  point += std::clamp<int64_t>(exponent, -1000, 1000);
  if (point > static_cast<int64_t>(digits.size()))
    digits.append(static_cast<size_t>(point) - digits.size(), '0');
  if (point < 0) {
    digits.insert(0, static_cast<size_t>(-point), '0');
    point = 0;
  }
  result.integer = digits.substr(0, static_cast<size_t>(point));
  result.fraction = digits.substr(static_cast<size_t>(point));
  result.integer.erase(0, std::min(result.integer.find_first_not_of('0'), result.integer.size()));
  result.fraction.erase(result.fraction.find_last_not_of('0') + 1);
  result.beyond = result.integer.size() > static_cast<size_t>(kMaxIntegerDigits);
  return result;
}

void AddNumber(Nfa* nfa, uint32_t from, const NumberRange& range, uint32_t to) {
  if (!range.low && !range.high) return AddFreeNumber(nfa, from, range.only_integers, to);
  const auto negative = [](const std::optional<Decimal>& bound) {
    return bound && bound->negative && !bound->is_zero();
  };
  const auto bound = [](const std::optional<Decimal>& value, bool excluded) {
    return Digits::Bound{value ? &*value : nullptr, excluded};
  };
  const uint32_t minus = nfa->NewState();
  const Decimal zero;
  int most_digits = kMaxSignificantDigits;
  for (const std::optional<Decimal>& value : {range.low, range.high}) {
    if (value && !value->beyond) most_digits = std::max(most_digits, static_cast<int>(value->integer.size()));
  }
  for (int length = 1; length <= most_digits && !nfa->budget()->exhausted(); ++length) {
    if (!negative(range.high)) {
      const Digits::Bound low = negative(range.low) ? Digits::Bound() : bound(range.low, range.low_excluded);
      Digits(nfa, low, bound(range.high, range.high_excluded), range.only_integers, length, to).Add(from);
    }
    if (!range.low || negative(range.low)) {
      // Sizes the other way round; above 0, for "-0" is 0.
      Digits::Bound low = {&zero, true};
      if (negative(range.high)) low = bound(range.high, range.high_excluded);
      Digits(nfa, low, bound(range.low, range.low_excluded), range.only_integers, length, to).Add(minus);
    }
  }
  nfa->Bytes(from, '-', '-', minus);
}

Status AddMultiples(Nfa* nfa, uint32_t from, const Decimal& of, uint32_t to) {
  const std::string digits = of.integer + of.fraction;
  const int64_t modulus = digits.size() > 9 ? kMaxMultipleOf + 1 : std::strtoll(digits.c_str(), nullptr, 10);
  if (of.negative || modulus < 1 || modulus > kMaxMultipleOf || of.fraction.size() > 6) {
    return Fail("multipleOf: expected a number above 0 of at most {} without its point, found {}{}{}{}",
                kMaxMultipleOf, of.negative ? "-" : "", of.integer.empty() ? "0" : of.integer,
                of.fraction.empty() ? "" : ".", of.fraction);
  }
  const auto num_fraction = static_cast<int>(of.fraction.size());
  // By the remainder so far, and how many digits follow the point already.
  std::map<std::pair<int, int64_t>, uint32_t> states;
  const auto at = [&](int place, int64_t remainder) {
    const auto [found, is_new] = states.try_emplace({place, remainder}, 0);
    if (is_new) found->second = nfa->NewState();
    return found->second;
  };
  for (int place = 0; place <= num_fraction; ++place) {
    for (int64_t remainder = 0; remainder < modulus && !nfa->budget()->exhausted(); ++remainder) {
      const uint32_t state = at(place, remainder);
      int64_t scaled = remainder;
      for (int i = place; i < num_fraction; ++i) scaled = scaled * 10 % modulus;
      if (scaled == 0) nfa->Epsilon(state, to);
      uint32_t digits_from = state;
      if (place == 0 && num_fraction > 0) {
        const uint32_t point = nfa->NewState();
        nfa->Bytes(state, '.', '.', point);
        for (int digit = 0; digit < 10; ++digit)
          AddDigits(nfa, point, digit, digit, at(1, (remainder * 10 + digit) % modulus));
      }
      if (place == num_fraction && place > 0) continue;
      for (int digit = 0; digit < 10; ++digit) {
        AddDigits(nfa, digits_from, digit, digit,
                  at(place == 0 ? 0 : place + 1, (remainder * 10 + digit) % modulus));
      }
    }
  }
  // Signs, and no zeros in front, are left to the range that this is intersected with.
  nfa->Bytes(from, '-', '-', at(0, 0));
  nfa->Epsilon(from, at(0, 0));
  return {};
}

}  // namespace deepshock
