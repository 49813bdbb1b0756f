// SPDX-License-Identifier: Apache-2.0
#include "apps/common/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"

namespace deepshock {
namespace {

constexpr int kBarWidth = 30;
constexpr std::chrono::milliseconds kTerminalPeriod(100);
constexpr std::chrono::seconds kLogPeriod(10);

}  // namespace

std::string SafeForTerminal(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    const bool control = (c.code_point < 0x20 && c.code_point != '\n' && c.code_point != '\t') ||
                         (c.code_point >= 0x7f && c.code_point < 0xa0);
    AppendUtf8(control ? 0xfffd : c.code_point, &safe);
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  return safe;
}

std::string FormatSeconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

Progress::Progress(std::string label, int64_t total, bool quiet)
    : label_(std::move(label)),
      total_(total),
      quiet_(quiet),
      is_terminal_(::isatty(STDERR_FILENO) == 1),
      started_(Clock::now()),
      last_(started_) {}

void Progress::Update(int64_t done, const std::string& note) {
  if (quiet_) return;
  const Clock::time_point now = Clock::now();
  const bool complete = total_ > 0 && done >= total_;
  const bool first_on_terminal = is_terminal_ && !drawn_;
  if (!first_on_terminal && !complete &&
      now - last_ < (is_terminal_ ? Clock::duration(kTerminalPeriod) : kLogPeriod)) {
    return;
  }
  if (complete && !is_terminal_ && !drawn_) return;  // it was too short to be worth a line in a log
  last_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  std::string line =
      total_ > 0 ? fmt::format("{} {}/{}", label_, done, total_) : fmt::format("{} {}", label_, done);
  if (is_terminal_ && total_ > 0) {
    const int filled = static_cast<int>(kBarWidth * std::min(done, total_) / total_);
    line += " [" + std::string(static_cast<size_t>(filled), '#') +
            std::string(static_cast<size_t>(kBarWidth - filled), ' ') + "]";
  }
  line += " " + FormatSeconds(seconds);
  if (total_ > 0 && done > 0 && !complete) {
    line += fmt::format(
        ", {} left", FormatSeconds(seconds / static_cast<double>(done) * static_cast<double>(total_ - done)));
  }
  if (!note.empty()) line += ", " + note;
  if (!is_terminal_) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  const size_t width = line.size();
  if (width < last_width_) line.append(last_width_ - width, ' ');  // covers what the line before left
  last_width_ = width;
  std::fprintf(stderr, "\r%s", line.c_str());
  std::fflush(stderr);
}

void Progress::Finish() {
  if (quiet_ || !drawn_ || !is_terminal_) return;
  std::fputc('\n', stderr);
  drawn_ = false;
}

}  // namespace deepshock
