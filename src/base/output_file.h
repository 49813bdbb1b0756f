// SPDX-License-Identifier: Apache-2.0
// A file written beside its final name and renamed into place by Commit(), so that a crash, a full disk or an
// error never leaves half a file under the name the user asked for. Without Commit() the temporary file is removed.
// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

class OutputFile {
 public:
  static Result<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  int64_t bytes_written() const { return bytes_written_; }
  // Writes out what is buffered, so that a reader of the temporary file sees it.
  Status Flush();
  // Flushes to disk and renames into place. Call once, last.
  Status Commit();

 private:
  OutputFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  Status WriteThrough(const std::byte* data, size_t size);

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
  std::vector<std::byte> buffer_;
  int64_t bytes_written_ = 0;
};

}  // namespace deepshock
