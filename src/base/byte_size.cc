// SPDX-License-Identifier: Apache-2.0
#include "base/byte_size.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace deepshock {
namespace {

constexpr std::string_view kPrefixes = "KMGT";

// Digits with at most one point between them; negative when it is none.
double ParseDecimal(std::string_view text) {
  double value = 0, place = 0;
  bool has_digit = false;
  for (const char c : text) {
    if (c == '.' && place == 0 && has_digit) {
      place = 1;
    } else if (c >= '0' && c <= '9') {
      has_digit = true;
      value = 10 * value + (c - '0');
      place *= 10;
    } else {
      return -1;
    }
  }
  if (!has_digit || text.ends_with('.')) return -1;
  return place == 0 ? value : value / place;
}

// Bytes of a unit, 0 for none that is known.
double UnitBytes(std::string unit) {
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (unit.empty() || unit == "B") return 1;
  const size_t power = kPrefixes.find(unit[0]);
  if (power == std::string_view::npos) return 0;
  const std::string rest = unit.substr(1);
  if (rest.empty() || rest == "I" || rest == "IB") return std::pow(1024.0, static_cast<double>(power + 1));
  return rest == "B" ? std::pow(1000.0, static_cast<double>(power + 1)) : 0;
}

}  // namespace

Result<int64_t> ParseByteSize(std::string_view text) {
  const size_t number_end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string_view unit = text.substr(number_end);
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const double bytes = ParseDecimal(text.substr(0, number_end)) * UnitBytes(std::string(unit));
  constexpr double kMost = 1ll << 62;
  if (text.size() > 32 || !(bytes >= 1) || bytes > kMost) {
    return Fail("expected a size such as 6G, 512M or 1.5GiB, found \"{}\"", text);
  }
  return static_cast<int64_t>(bytes);
}

std::string FormatByteSize(int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes);
  size_t power = 0;
  for (value /= 1024; value >= 999.5 && power + 1 < kPrefixes.size(); ++power) value /= 1024;
  return fmt::format("{:.{}f} {}iB", value, value < 9.95 ? 2 : value < 99.5 ? 1 : 0, kPrefixes[power]);
}

}  // namespace deepshock
