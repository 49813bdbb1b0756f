// SPDX-License-Identifier: Apache-2.0
// What the programs show on a terminal. Main thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace deepshock {

// Model output is not to be trusted with a terminal: control characters other than newline and tab become
// U+FFFD. `text` is whole UTF-8 characters.
std::string SafeForTerminal(std::string_view text);

// A progress bar on stderr: redrawn in place on a terminal, a line now and then elsewhere, nothing when
// quiet.
class Progress {
 public:
  // total 0: unknown.
  Progress(std::string label, int64_t total, bool quiet);
  ~Progress() { Finish(); }
  // `note` stands behind the bar: "12 tokens/s".
  void Update(int64_t done, const std::string& note = "");
  // Ends the bar, so that other text may follow.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  int64_t total_;
  bool quiet_;
  bool is_terminal_;
  bool drawn_ = false;
  size_t last_width_ = 0;
  Clock::time_point started_;
  Clock::time_point last_;
};

// "3.2 s", "1 min 5 s"
std::string FormatSeconds(double seconds);

}  // namespace deepshock
