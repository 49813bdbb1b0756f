// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <set>
#include <vector>

#include "base/mapped_file.h"
#include "base/utf8.h"

namespace deepshock {
namespace {

// nlohmann's messages look like "[json.exception.parse_error.101] parse error at line 1, column 2: ...".
std::string WithoutTag(const std::string& what) {
  const size_t end = what.find("] ");
  return what.rfind('[', 0) == 0 && end != std::string::npos ? what.substr(end + 2) : what;
}

// Messages quote the text, which nobody has checked: makes one valid line of it, of bounded length.
Status OneLine(std::string_view message) {
  constexpr size_t kMaxBytes = 400;
  const bool cut = message.size() > kMaxBytes;
  if (cut) message = message.substr(0, CompleteUtf8Prefix(message.substr(0, kMaxBytes)));
  std::string line;
  for (const char c : ReplaceInvalidUtf8(message)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      line += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      line += c;
    }
  }
  return Status::Error(cut ? line + "..." : line);
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  // The parser takes a NUL for the end of the text and ignores what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return Fail("expected JSON, found a NUL byte at offset {}", nul);
  }
  // The parser calls this for every value. Only an exception ends it there; `false` would drop the value and
  // go on.
  struct Refused {
    std::string why;
  };
  std::vector<std::set<std::string>> keys;  // of each open object
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxJsonDepth) {
      throw Refused{fmt::format("expected JSON of at most {} levels, found more", kMaxJsonDepth)};
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string key = parsed.get<std::string>();
      const bool is_new = keys.back().insert(key).second;
      if (!is_new) throw Refused{fmt::format("key \"{}\" occurs twice in one JSON object", key)};
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Refused& refused) {
    return OneLine(refused.why);
  } catch (const Json::exception& e) {
    return OneLine(WithoutTag(e.what()));
  }
}

Result<Json> ReadJsonFile(const std::string& path, size_t max_bytes) {
  DS_ASSIGN(const std::string text, ReadFile(path, max_bytes));
  return ParseJson(text).WithContext(path);
}

}  // namespace deepshock
