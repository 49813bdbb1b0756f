// SPDX-License-Identifier: Apache-2.0
// Inside of FileReader: what its two forms (io_uring, threads) share. Included by src/base/file_reader*.cc only.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
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

// Cuts reads into requests, hands requests out, takes their results, and reports a read when its last request
// is back. Not synchronised: the owner's mutex guards it.
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

// A reader whose requests are made by somebody else, who also tells `done_`.
class QueuedReader : public FileReader {
 public:
  void Hurry(uint64_t tag) final;
  FileReadResult Wait() final;
  std::optional<FileReadResult> Poll() final;
  const std::string& description() const final { return description_; }

 protected:
  QueuedReader(OpenFiles files, int64_t request_bytes, std::string description)
      : files_(std::move(files)),
        description_(std::move(description)),
        queue_(files_, request_bytes) {}
  int FdOf(const FileRequest& request) const { return files_.entries[static_cast<size_t>(request.file)].fd; }
  // Reads, waiting: the bytes that came, or -errno.
  int64_t ReadNow(const FileRequest& request) const;

  const OpenFiles files_;
  const std::string description_;
  std::mutex mutex_;
  std::condition_variable done_;
  FileReadQueue queue_;
};

// The two forms. The first fails with the reason where the kernel refuses io_uring.
Result<std::unique_ptr<FileReader>> MakeUringReader(OpenFiles* files, const FileReader::Options& options);
std::unique_ptr<FileReader> MakeThreadReader(OpenFiles files, const FileReader::Options& options,
                                             const std::string& reason);

}  // namespace deepshock
