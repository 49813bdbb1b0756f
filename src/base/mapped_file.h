// SPDX-License-Identifier: Apache-2.0
// A read-only memory-mapped file. Owns the mapping; views into it die with it.
// A file that shrinks while mapped raises SIGBUS, as with every mmap; callers keep model files in place.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace deepshock {

class MappedFile {
 public:
  // Fails when the path is not a readable regular file. An empty file maps to an empty span.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Advice about a part of bytes(); failing to follow it harms nothing but speed.
  void WillRead(std::span<const std::byte> part) const;     // reading ahead from the disk pays
  void WillNotRead(std::span<const std::byte> part) const;  // its pages need not count as this process's

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// Reads a small file whole. Fails when it is larger than `max_bytes`.
Result<std::string> ReadFile(const std::string& path, size_t max_bytes);

}  // namespace deepshock
