// SPDX-License-Identifier: Apache-2.0
// JSON Lines (https://jsonlines.org): one value a line, UTF-8. The reader takes lines from a file descriptor
// with a bound on each, so that a hostile or mistaken input costs a bounded amount of memory. A bad line is
// the caller's to report; the lines after it are read as if it were not there. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct InputLine {
  int64_t number = 0;  // from 1
  std::string text;    // without the line end; empty when status is an error
  Status status;       // the line is too long, or is not UTF-8
};

class LineReader {
 public:
  static constexpr size_t kDefaultMaxBytes = 64u << 20;

  // `name` is for messages. The descriptor stays the caller's.
  LineReader(int fd, std::string name, size_t max_bytes = kDefaultMaxBytes)
      : fd_(fd), name_(std::move(name)), max_bytes_(max_bytes) {}

  // The next line that holds more than white space; none at the end of the input, and when it cannot be read
  // (see status). A byte-order mark at the beginning is skipped.
  std::optional<InputLine> Next();
  const Status& status() const { return status_; }

 private:
  bool Fill();

  int fd_;
  std::string name_;
  size_t max_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // what is unread in buffer_
  int64_t number_ = 0;
  bool finished_ = false;
  Status status_;
};

}  // namespace deepshock
