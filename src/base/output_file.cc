// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace deepshock {
namespace {
constexpr size_t kBufferBytes = 1 << 20;
}

Result<OutputFile> OutputFile::Create(const std::string& path) {
  // O_EXCL: never a file that another writer of the same name has open, nor what a link leads to.
  for (int attempt = 0;; ++attempt) {
    const std::string temporary = fmt::format("{}.partial.{}.{}", path, ::getpid(), attempt);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) return OutputFile(path, temporary, fd);
    if (errno != EEXIST || attempt == 1000) return Fail("{}: cannot create: {}", path, std::strerror(errno));
  }
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)),
      bytes_written_(other.bytes_written_) {}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status OutputFile::WriteThrough(const std::byte* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd_, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail("{}: cannot write: {}", path_, std::strerror(errno));
    data += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

Status OutputFile::Write(std::span<const std::byte> bytes) {
  DS_CHECK(fd_ >= 0, "write after Commit");
  bytes_written_ += static_cast<int64_t>(bytes.size());
  if (buffer_.size() + bytes.size() > kBufferBytes) DS_RETURN_IF_ERROR(Flush());
  if (bytes.size() >= kBufferBytes) return WriteThrough(bytes.data(), bytes.size());
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Status OutputFile::Flush() {
  DS_RETURN_IF_ERROR(WriteThrough(buffer_.data(), buffer_.size()));
  buffer_.clear();
  return {};
}

Status OutputFile::Commit() {
  DS_CHECK(fd_ >= 0, "Commit called twice");
  DS_RETURN_IF_ERROR(Flush());
  if (::fsync(fd_) != 0) return Fail("{}: cannot flush to disk: {}", path_, std::strerror(errno));
  if (::close(std::exchange(fd_, -1)) != 0) {
    ::unlink(temporary_.c_str());
    return Fail("{}: cannot close: {}", path_, std::strerror(errno));
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const Status status = Fail("{}: cannot rename {} to it: {}", path_, temporary_, std::strerror(errno));
    ::unlink(temporary_.c_str());
    return status;
  }
  return {};
}

}  // namespace deepshock
