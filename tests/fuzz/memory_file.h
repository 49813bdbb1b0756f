// SPDX-License-Identifier: Apache-2.0
// A file without a disk, for fuzz targets of readers that map files. One thread.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"

namespace deepshock {

class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(fd_)) {
    DS_CHECK(fd_ >= 0, "memfd_create failed");
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void Set(const uint8_t* data, size_t size) {
    DS_CHECK(::ftruncate(fd_, 0) == 0, "ftruncate failed");
    DS_CHECK(::pwrite(fd_, data, size, 0) == static_cast<ssize_t>(size), "pwrite failed");
  }
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

// Reads every byte, so that one outside the mapping faults.
inline void ReadAll(const void* data, size_t size) {
  uint8_t sum = 0;
  for (size_t i = 0; i < size; ++i) sum = static_cast<uint8_t>(sum + static_cast<const uint8_t*>(data)[i]);
  asm volatile("" : : "r"(sum));  // keeps the loop
}

}  // namespace deepshock
