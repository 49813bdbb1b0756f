// SPDX-License-Identifier: Apache-2.0
// StopMatcher: finds stop strings in streamed text, however the text is cut into pieces, and lets no byte out
// that could still turn out to be part of one. The stop string that is complete first wins; of several that
// are complete at the same byte, the longest. Linear in the text for each stop string. One thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

class StopMatcher {
 public:
  // Fails on an empty stop string and past the limits below.
  static Result<StopMatcher> Create(const std::vector<std::string>& stops);
  static constexpr size_t kMaxStops = 256;
  static constexpr size_t kMaxStopBytes = 4096;

  // Takes the next piece and returns the text that is final. Once stopped, the rest is swallowed.
  std::string Push(std::string_view text);
  // The text held back, at the end of generation.
  std::string Finish();
  bool stopped() const { return stopped_; }
  const std::string& found() const { return found_; }  // the stop string that did; empty: none

 private:
  // Knuth-Morris-Pratt for one stop string.
  struct Pattern {
    std::string text;
    std::vector<size_t> failure;  // [size + 1] length of the longest border of each prefix
    size_t matched = 0;           // bytes of `text` that the stream ends with
  };
  static void Advance(Pattern* pattern, char byte);

  std::vector<Pattern> patterns_;
  std::string held_, found_;
  bool stopped_ = false;
};

}  // namespace deepshock
