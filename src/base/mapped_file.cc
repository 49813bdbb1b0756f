// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace deepshock {
namespace {

// Opens a regular file for reading and tells its size.
Result<std::pair<int, size_t>> OpenRegular(const std::string& path) {
  // O_NONBLOCK: opening a FIFO would wait for a writer. It changes nothing for regular files.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Fail("{}: cannot open: {}", path, std::strerror(errno));
  struct stat st;
  if (::fstat(fd, &st) != 0) {
    const Status status = Fail("{}: cannot read its size: {}", path, std::strerror(errno));
    ::close(fd);
    return status;
  }
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    return Fail("{}: expected a regular file", path);
  }
  return std::pair<int, size_t>(fd, static_cast<size_t>(st.st_size));
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  DS_ASSIGN(const auto opened, OpenRegular(path));
  const auto [fd, size] = opened;
  const std::byte* data = nullptr;
  if (size > 0) {
    void* p = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
      const Status status = Fail("{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
      ::close(fd);
      return status;
    }
    data = static_cast<const std::byte*>(p);
  }
  ::close(fd);
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

void MappedFile::WillRead(std::span<const std::byte> part) const {
  constexpr uintptr_t kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(part.data()) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size());
  if (!part.empty()) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

void MappedFile::WillNotRead(std::span<const std::byte> part) const {
  // Whole pages only: their neighbours belong to others. The mapping is of a file and shared, so a page that
  // is read after all comes back as it was.
  constexpr uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + kPage - 1) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / kPage * kPage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  DS_ASSIGN(const auto opened, OpenRegular(path));
  const auto [fd, size] = opened;
  if (size > max_bytes) {
    ::close(fd);
    return Fail("{}: expected at most {} bytes, found {}", path, max_bytes, size);
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd, text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const Status status = Fail("{}: cannot read: {}", path, std::strerror(errno));
      ::close(fd);
      return status;
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  ::close(fd);
  text.resize(done);
  return text;
}

}  // namespace deepshock
