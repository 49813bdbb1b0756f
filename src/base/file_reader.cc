// SPDX-License-Identifier: Apache-2.0
#include "base/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/file_reader_queue.h"

namespace deepshock {
namespace {

int64_t RoundUp(int64_t bytes) {
  constexpr int64_t kAlignment = FileReader::kAlignment;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Threads that wait in pread, one for each request that may be under way.
class ThreadReader final : public QueuedReader {
 public:
  ThreadReader(OpenFiles files, const Options& options, const std::string& description)
      : QueuedReader(std::move(files), options.request_bytes, description) {
    for (int i = 0; i < options.num_requests; ++i) threads_.emplace_back([this] { Loop(); });
  }
  ~ThreadReader() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Start(const FileRead& read) override {
    {
      std::lock_guard lock(mutex_);
      queue_.Add(read);
    }
    work_.notify_all();
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::optional<FileRequest> request;
      work_.wait(lock, [&] { return stopping_ || (request = queue_.Next()).has_value(); });
      if (!request) return;  // stopping
      lock.unlock();
      const int64_t result = ReadNow(*request);
      lock.lock();
      queue_.Finish(*request, result);
      if (queue_.has_done()) done_.notify_all();
    }
  }

  std::condition_variable work_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

Status OpenOne(const FileReader::File& file, bool direct, OpenFiles* files) {
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  int fd = direct ? ::open(file.path.c_str(), flags | O_DIRECT) : -1;
  if (fd < 0) {
    files->direct = false;
    fd = ::open(file.path.c_str(), flags);
  }
  if (fd < 0) return Fail("{}: cannot open: {}", file.path, std::strerror(errno));
  files->entries.push_back({file.path, fd});
  struct stat st;
  if (::fstat(fd, &st) != 0) return Fail("{}: cannot read its size: {}", file.path, std::strerror(errno));
  if (!S_ISREG(st.st_mode)) return Fail("{}: expected a regular file", file.path);
  if (st.st_size < file.bytes) {
    return Fail("{}: expected at least {} bytes, found {}", file.path, file.bytes, st.st_size);
  }
  return {};
}

}  // namespace

OpenFiles::~OpenFiles() {
  for (const Entry& entry : entries) ::close(entry.fd);
}

void QueuedReader::Hurry(uint64_t tag) {
  std::lock_guard lock(mutex_);
  queue_.Hurry(tag);
}

FileReadResult QueuedReader::Wait() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return queue_.has_done(); });
  return queue_.TakeDone();
}

std::optional<FileReadResult> QueuedReader::Poll() {
  std::lock_guard lock(mutex_);
  return queue_.has_done() ? std::optional(queue_.TakeDone()) : std::nullopt;
}

int64_t QueuedReader::ReadNow(const FileRequest& request) const {
  ssize_t got = 0;
  do {
    got = ::pread(FdOf(request), request.to, static_cast<size_t>(request.padded), request.offset);
  } while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got;
}

void FileReadQueue::Add(const FileRead& read) {
  DS_CHECK(read.file >= 0 && static_cast<size_t>(read.file) < files_.entries.size(), "a file that is open");
  DS_CHECK(read.offset % FileReader::kAlignment == 0 &&
               reinterpret_cast<uintptr_t>(read.to) % FileReader::kAlignment == 0,
           "reads are aligned");
  Progress& progress = reads_[read.tag];
  DS_CHECK(progress.num_requests == 0, "a read of this tag is under way");
  int64_t done = 0;
  do {
    const int64_t wanted = std::min(read.bytes - done, request_bytes_);
    (read.urgent ? urgent_ : patient_)
        .push_back({read.tag, read.file, read.offset + done, wanted, RoundUp(wanted), read.to + done});
    ++progress.num_requests;
    done += wanted;
  } while (done < read.bytes);
}

void FileReadQueue::Hurry(uint64_t tag) {
  for (auto it = patient_.begin(); it != patient_.end();) {
    if (it->tag == tag) {
      urgent_.push_back(*it);
      it = patient_.erase(it);
    } else {
      ++it;
    }
  }
}

std::optional<FileRequest> FileReadQueue::Next() {
  std::deque<FileRequest>& queue = urgent_.empty() ? patient_ : urgent_;
  if (queue.empty()) return std::nullopt;
  const FileRequest request = queue.front();
  queue.pop_front();
  return request;
}

void FileReadQueue::Finish(const FileRequest& request, int64_t got) {
  Progress& progress = reads_[request.tag];
  if (got < request.wanted && progress.status.ok()) {
    // Short: the rest is asked for again, from the last whole block on.
    const int64_t whole = got <= 0 ? 0 : got / FileReader::kAlignment * FileReader::kAlignment;
    if (whole > 0) {
      FileRequest rest = request;
      rest.offset += whole;
      rest.wanted -= whole;
      rest.padded -= whole;
      rest.to += whole;
      urgent_.push_front(rest);
      return;
    }
    progress.status = Error(request, got);
    progress.num_requests -= Drop(request.tag);
  }
  if (--progress.num_requests > 0) return;
  done_.push_back({request.tag, std::move(progress.status)});
  reads_.erase(request.tag);
}

Status FileReadQueue::Error(const FileRequest& request, int64_t got) const {
  const std::string& path = files_.entries[static_cast<size_t>(request.file)].path;
  if (got < 0) {
    return Fail("{}: cannot read {} bytes at {}: {}", path, request.wanted, request.offset,
                std::strerror(static_cast<int>(-got)));
  }
  return Fail("{}: expected {} bytes at {}, found {}: the file has become shorter", path, request.wanted,
              request.offset, got);
}

int64_t FileReadQueue::Drop(uint64_t tag) {
  const auto is_of_read = [tag](const FileRequest& request) { return request.tag == tag; };
  return static_cast<int64_t>(std::erase_if(urgent_, is_of_read) + std::erase_if(patient_, is_of_read));
}

FileReadResult FileReadQueue::TakeDone() {
  FileReadResult result = std::move(done_.front());
  done_.pop_front();
  return result;
}

std::unique_ptr<FileReader> MakeThreadReader(OpenFiles files, const FileReader::Options& options,
                                             const std::string& reason) {
  const std::string description = fmt::format("{} threads with pread{}{}{}", options.num_requests,
                                              files.direct ? ", O_DIRECT" : ", through the page cache",
                                              reason.empty() ? "" : ": ", reason);
  return std::make_unique<ThreadReader>(std::move(files), options, description);
}

Result<std::unique_ptr<FileReader>> FileReader::Open(const std::vector<File>& files, const Options& options) {
  DS_CHECK(options.request_bytes > 0 && options.request_bytes % kAlignment == 0, "requests of whole blocks");
  DS_CHECK(options.num_requests > 0, "at least one request at once");
  OpenFiles open;
  open.direct = options.use_direct;
  for (const File& file : files) DS_RETURN_IF_ERROR(OpenOne(file, options.use_direct, &open));
  std::string reason;
  if (options.use_uring) {
    Result<std::unique_ptr<FileReader>> uring = MakeUringReader(&open, options);
    if (uring.ok()) return uring;
    reason = uring.message();
  }
  return MakeThreadReader(std::move(open), options, reason);
}

}  // namespace deepshock
