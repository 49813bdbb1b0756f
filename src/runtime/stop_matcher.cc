// SPDX-License-Identifier: Apache-2.0
#include "runtime/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace deepshock {

Result<StopMatcher> StopMatcher::Create(const std::vector<std::string>& stops) {
  if (stops.size() > kMaxStops)
    return Fail("stop: expected at most {} strings, found {}", kMaxStops, stops.size());
  StopMatcher matcher;
  for (const std::string& stop : stops) {
    if (stop.empty()) return Fail("stop: expected non-empty strings, found an empty one");
    if (stop.size() > kMaxStopBytes) {
      return Fail("stop: expected strings of at most {} bytes, found one of {}", kMaxStopBytes, stop.size());
    }
    Pattern pattern;
    pattern.text = stop;
    pattern.failure.assign(stop.size() + 1, 0);
    for (size_t i = 1, border = 0; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[border]) border = pattern.failure[border];
      if (stop[i] == stop[border]) ++border;
      pattern.failure[i + 1] = border;
    }
    matcher.patterns_.push_back(std::move(pattern));
  }
  return matcher;
}

void StopMatcher::Advance(Pattern* pattern, char byte) {
  size_t& matched = pattern->matched;
  while (matched > 0 && pattern->text[matched] != byte) matched = pattern->failure[matched];
  if (pattern->text[matched] == byte) ++matched;
}

std::string StopMatcher::Push(std::string_view text) {
  if (stopped_) return "";
  for (const char byte : text) {
    held_ += byte;
    size_t stop_bytes = 0;  // of the longest stop string that is complete here
    for (Pattern& pattern : patterns_) {
      Advance(&pattern, byte);
      if (pattern.matched == pattern.text.size()) stop_bytes = std::max(stop_bytes, pattern.matched);
    }
    if (stop_bytes > 0) {
      stopped_ = true;
      found_ = held_.substr(held_.size() - stop_bytes);
      held_.resize(held_.size() - stop_bytes);
      return std::exchange(held_, "");
    }
  }
  size_t possible = 0;  // bytes at the end that may be the beginning of a stop string
  for (const Pattern& pattern : patterns_) possible = std::max(possible, pattern.matched);
  std::string final_text = held_.substr(0, held_.size() - possible);
  held_.erase(0, final_text.size());
  return final_text;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

}  // namespace deepshock
