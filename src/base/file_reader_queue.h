// SPDX-License-Identifier: Apache-2.0
// Inside of FileReader: the queue that its two forms (io_uring, threads) share. Cuts reads into requests,
// hands requests out, takes their results, and reports a read when its last request is back. Not
// synchronised: the owner's mutex guards it. Included by src/base/file_reader*.cc only.
#pragma once

#include <deque>
#include <unordered_map>

#include "base/file_reader.h"

namespace deepshock {

// Open files; closes them.
struct OpenFiles {
  struct Entry {
    std::string path;
    int fd = -1;
  };
  std::vector<Entry> entries;
  bool direct = true;  // all of them

  OpenFiles() = default;
  OpenFiles(OpenFiles&& other) noexcept : entries(std::move(other.entries)), direct(other.direct) {
    other.entries.clear();
  }
  OpenFiles& operator=(OpenFiles&&) = delete;
  ~OpenFiles();
};

struct FileRequest {
  uint64_t tag = 0;
  int file = 0;
  int64_t offset = 0;
  int64_t wanted = 0;  // bytes that must come
  int64_t padded = 0;  // bytes that are asked for: `wanted` up to the next multiple of the alignment
  std::byte* to = nullptr;
};

class FileReadQueue {
 public:
  FileReadQueue(const OpenFiles& files, int64_t request_bytes)
      : files_(files), request_bytes_(request_bytes) {}

  void Add(const FileRead& read);
  void Hurry(uint64_t tag);
  // The next request to be made.
  std::optional<FileRequest> Next();
  // `got`: what pread returned, or -errno.
  void Finish(const FileRequest& request, int64_t got);

  bool has_done() const { return !done_.empty(); }
  FileReadResult TakeDone();

 private:
  struct Progress {
    int64_t num_requests = 0;  // not yet back
    Status status;
  };
  Status Error(const FileRequest& request, int64_t got) const;
  // Requests of a read that failed need not be made; how many there were.
  int64_t Drop(uint64_t tag);

  const OpenFiles& files_;
  int64_t request_bytes_;
  std::deque<FileRequest> urgent_, patient_;
  std::unordered_map<uint64_t, Progress> reads_;
  std::deque<FileReadResult> done_;
};

// The two forms. The first fails with the reason where the kernel refuses io_uring.
Result<std::unique_ptr<FileReader>> MakeUringReader(OpenFiles* files, const FileReader::Options& options);
std::unique_ptr<FileReader> MakeThreadReader(OpenFiles files, const FileReader::Options& options,
                                             const std::string& reason);

}  // namespace deepshock
