// SPDX-License-Identifier: Apache-2.0
// One tool call in a model's text, by the syntax of its family: where it begins and ends, and what it says.
// Used by ChatOutput. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_format.h"

namespace deepshock {

struct ToolCall {
  std::string id;  // the model's own; empty: it gives none
  std::string name;
  std::string arguments;  // the text of a JSON object
};

// How calls are set off from text. Sections may surround them and mean nothing; empty: none.
struct CallMarkers {
  std::string_view section_begin, begin, end, section_end;
};
CallMarkers MarkersOf(CallSyntax syntax);

enum class BodyVerdict { kCall, kNotYet, kNoCall };
// What stands between `begin` and `end`. kNotYet: the `end` seen is part of a string, and more is to come.
// `tools` tells the types of arguments where a syntax does not; null: none.
BodyVerdict ParseCallBody(CallSyntax syntax, std::string_view body, const SharedJson& tools, ToolCall* call);
// Whether a text that begins so may be a body; false stays false when the text goes on.
bool MayBeCallBody(CallSyntax syntax, std::string_view beginning);

// {"name", "arguments" or "parameters"[, "id"]}, or a list of such.
bool ParseJsonCalls(std::string_view text, std::vector<ToolCall>* calls);

bool IsToolNameChar(char c);

// Finds where a JSON object or list ends, without looking twice at a byte.
class JsonScanner {
 public:
  // Goes on at text[position()]; true when the value that begins at text[start of the first call] is whole,
  // and position() is behind it.
  bool Scan(std::string_view text);
  size_t position() const { return position_; }
  void Restart(size_t position) { *this = JsonScanner(position); }
  JsonScanner() = default;
  explicit JsonScanner(size_t position) : position_(position) {}

 private:
  size_t position_ = 0;
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

}  // namespace deepshock
