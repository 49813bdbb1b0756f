// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <algorithm>

namespace deepshock {
namespace {

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string OneLine(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (!IsControl(c)) {
      line += c;
    } else if (c == '\n') {
      line += ' ';
    } else {
      line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return line;
}

}  // namespace

Status Status::Error(std::string message) {
  Status s;
  const bool clean = std::none_of(message.begin(), message.end(), IsControl);
  s.message_ = clean ? std::move(message) : OneLine(message);
  return s;
}

}  // namespace deepshock
