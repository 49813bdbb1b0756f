// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <vector>

#include "runtime/prefix_file.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

Status AddFile(const std::string& path, uint64_t* hash) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Fail("{}: cannot open: {}", path, std::strerror(errno));
  struct stat st{};
  ::fstat(fd, &st);
  const int64_t facts[] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
  *hash = HashBytes(std::as_bytes(std::span(facts)), *hash);
  constexpr int64_t kSamples = 64;
  std::array<std::byte, 4096> sample{};
  for (int64_t i = 0; i < kSamples; ++i) {
    const ssize_t n = ::pread(fd, sample.data(), sample.size(), st.st_size / kSamples * i);
    if (n > 0) *hash = HashBytes(std::span(sample).first(static_cast<size_t>(n)), *hash);
  }
  ::close(fd);
  return {};
}

}  // namespace

Result<uint64_t> ModelIdentity(const std::string& path, std::string_view settings) {
  uint64_t hash = HashBytes(std::as_bytes(std::span(settings)), 0);
  // A split model's parts differ in their last numbers only; one's neighbours in a folder cost a little time.
  std::vector<std::string> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.is_regular_file(error)) files.push_back(entry.path().string());
    }
  } else {
    files.push_back(path);
    const std::string name = fs::path(path).filename().string();
    const size_t part = name.rfind("-of-");
    if (part != std::string::npos && part >= 5) {
      const std::string stem = name.substr(0, part - 5), tail = name.substr(part);
      const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
      for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string other = entry.path().filename().string();
        if (other != name && other.starts_with(stem) && other.ends_with(tail))
          files.push_back(entry.path().string());
      }
    }
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) DS_RETURN_IF_ERROR(AddFile(file, &hash));
  // Another build may round otherwise.
  DS_RETURN_IF_ERROR(AddFile("/proc/self/exe", &hash));
  return hash;
}

}  // namespace deepshock
