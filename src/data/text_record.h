// SPDX-License-Identifier: Apache-2.0
// One line of a file of texts to measure a model on: {"text": TEXT}, {"prompt": TEXT} or {"messages": [...],
// "tools": [...]}, with any other fields beside them. Unlike a request (data/prompt_record.h) it asks for
// nothing, so fields that nobody reads are no error.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

struct TextRecord {
  std::string text;
  std::string messages;  // JSON text of the list, key order kept; empty when there is a text
  std::string tools;     // the same; empty when absent
};

// `field`: which field holds the text (a string) or the conversation (a list); empty: the first present of
// text, prompt and messages.
Result<TextRecord> ParseTextRecord(std::string_view line, const std::string& field);

}  // namespace deepshock
