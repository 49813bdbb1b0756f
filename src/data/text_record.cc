// SPDX-License-Identifier: Apache-2.0
#include "data/text_record.h"

#include "base/json.h"

namespace deepshock {

Result<TextRecord> ParseTextRecord(std::string_view line, const std::string& field) {
  using OrderedJson = nlohmann::ordered_json;
  // Checked first (depth, duplicate keys), then read again with the order of keys, which templates print.
  DS_ASSIGN(const Json checked, ParseJson(line));
  if (!checked.is_object()) return Fail("expected a JSON object, found {}", checked.type_name());
  std::string found = field;
  if (found.empty()) {
    for (const char* candidate : {"text", "prompt", "messages"}) {
      if (found.empty() && checked.contains(candidate)) found = candidate;
    }
    if (found.empty())
      return Fail("expected a field \"text\", \"prompt\" or \"messages\", found none of them");
  }
  if (!checked.contains(found)) return Fail("expected a field \"{}\", found none", found);
  const OrderedJson json = OrderedJson::parse(line);
  const OrderedJson& value = json[found];
  TextRecord record;
  if (value.is_string()) {
    record.text = value.get<std::string>();
    return record;
  }
  if (!value.is_array()) {
    return Fail("{}: expected a string or a list of messages, found {}", found, value.type_name());
  }
  record.messages = value.dump();
  if (json.contains("tools") && json["tools"].is_array()) record.tools = json["tools"].dump();
  return record;
}

}  // namespace deepshock
