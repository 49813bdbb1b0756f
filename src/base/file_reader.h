// SPDX-License-Identifier: Apache-2.0
// FileReader: reads blocks of files into memory while the caller does something else. Owns its open files,
// its queue and one thread (or several) that keep the disk busy; a read is cut into requests of about 1 MB,
// some 16 of them under way at once, and its end is reported whole. io_uring where the kernel allows it, else
// threads that wait in pread; O_DIRECT where the file system has it, so that nothing is kept twice. Start,
// Wait and Poll are called by one thread, or by several in turns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct FileRead {
  uint64_t tag = 0;  // comes back with the result; of the reads under way no two have the same
  int file = 0;      // index of FileReader::Open's list
  // offset and `to` are multiples of FileReader::kAlignment, and `to` has room for `bytes` rounded up to it.
  int64_t offset = 0;
  int64_t bytes = 0;
  std::byte* to = nullptr;
  bool urgent = true;  // before all that are not
};

struct FileReadResult {
  uint64_t tag = 0;
  Status status;  // failed: what `to` holds is undefined
};

class FileReader {
 public:
  static constexpr int64_t kAlignment = 4096;  // what O_DIRECT asks for on every disk that is in use

  struct File {
    std::string path;
    int64_t bytes = 0;  // what it must have; it may grow, and where it shrinks later reads fail
  };
  struct Options {
    int64_t request_bytes = 1 << 20;
    int num_requests = 16;  // under way at once
    bool use_uring = true;  // false: threads
    bool use_direct = true;
  };
  static Result<std::unique_ptr<FileReader>> Open(const std::vector<File>& files, const Options& options);
  static Result<std::unique_ptr<FileReader>> Open(const std::vector<File>& files) { return Open(files, {}); }
  // Waits for what is under way.
  virtual ~FileReader() = default;

  // Returns at once.
  virtual void Start(const FileRead& read) = 0;
  // A read that was not urgent has become so. Unknown tags are ignored.
  virtual void Hurry(uint64_t tag) = 0;
  // The next read that has ended, in the order in which they end; Wait sleeps until there is one. There must
  // be one that was started and not yet reported.
  virtual FileReadResult Wait() = 0;
  virtual std::optional<FileReadResult> Poll() = 0;

  // "io_uring, O_DIRECT", or what stands in its place and why.
  virtual const std::string& description() const = 0;
};

}  // namespace deepshock
