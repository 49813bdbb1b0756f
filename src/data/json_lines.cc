// SPDX-License-Identifier: Apache-2.0
#include "data/json_lines.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/utf8.h"

namespace deepshock {
namespace {

constexpr size_t kBufferBytes = 1 << 16;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool IsBlank(const std::string& text) { return text.find_first_not_of(" \t\r\v\f") == std::string::npos; }

}  // namespace

bool LineReader::Fill() {
  if (finished_) return false;
  buffer_.resize(kBufferBytes);
  ssize_t n = 0;
  do {
    n = ::read(fd_, buffer_.data(), buffer_.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) status_ = Fail("{}: cannot read: {}", name_, std::strerror(errno));
  begin_ = 0;
  end_ = n > 0 ? static_cast<size_t>(n) : 0;
  finished_ = n <= 0;
  return n > 0;
}

std::optional<InputLine> LineReader::Next() {
  for (;;) {
    InputLine line;
    size_t num_bytes = 0;
    bool ended = false;  // by a newline
    while (!ended && (begin_ < end_ || Fill())) {
      const char* start = buffer_.data() + begin_;
      const void* newline = std::memchr(start, '\n', end_ - begin_);
      const size_t n =
          newline != nullptr ? static_cast<size_t>(static_cast<const char*>(newline) - start) : end_ - begin_;
      ended = newline != nullptr;
      num_bytes += n;
      if (num_bytes <= max_bytes_) line.text.append(start, n);
      begin_ += n + (ended ? 1 : 0);
    }
    if (!ended && num_bytes == 0) return std::nullopt;
    line.number = ++number_;
    if (num_bytes > max_bytes_) {
      line.status = Fail("expected a line of at most {} bytes, found {}", max_bytes_, num_bytes);
      line.text.clear();
      return line;
    }
    if (line.number == 1 && line.text.starts_with(kByteOrderMark)) line.text.erase(0, kByteOrderMark.size());
    if (IsBlank(line.text)) continue;
    const size_t invalid = FindInvalidUtf8(line.text);
    if (invalid != std::string::npos) {
      line.status = Fail("expected UTF-8, found byte 0x{:02x} at column {}",
                         static_cast<unsigned>(static_cast<unsigned char>(line.text[invalid])), invalid + 1);
      line.text.clear();
    }
    return line;
  }
}

}  // namespace deepshock
