// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <set>
#include <vector>

#include "base/mapped_file.h"

namespace deepshock {
namespace {

// nlohmann's messages look like "[json.exception.parse_error.101] parse error at line 1, column 2: ...".
std::string WithoutTag(const std::string& what) {
  const size_t end = what.find("] ");
  return what.rfind('[', 0) == 0 && end != std::string::npos ? what.substr(end + 2) : what;
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  std::string problem;
  std::vector<std::set<std::string>> keys;  // of each open object
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (!problem.empty()) return false;
    if (depth > kMaxJsonDepth) {
      problem = fmt::format("expected JSON of at most {} levels, found more", kMaxJsonDepth);
      return false;
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string key = parsed.get<std::string>();
      if (!keys.back().insert(key).second) problem = fmt::format("key \"{}\" occurs twice in one JSON object", key);
    }
    return problem.empty();
  };
  try {
    Json json = Json::parse(text, check);
    if (!problem.empty()) return Status::Error(problem);
    return json;
  } catch (const Json::exception& e) {
    return Status::Error(problem.empty() ? WithoutTag(e.what()) : problem);
  }
}

Result<Json> ReadJsonFile(const std::string& path, size_t max_bytes) {
  DS_ASSIGN(const std::string text, ReadFile(path, max_bytes));
  return ParseJson(text).WithContext(path);
}

}  // namespace deepshock
