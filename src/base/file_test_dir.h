// SPDX-License-Identifier: Apache-2.0
// For tests: a directory of its own for each test, removed at its end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/check.h"

namespace deepshock {

class FileTestDir {
 public:
  FileTestDir() {
    std::string name = (std::filesystem::temp_directory_path() / "deepshock-test-XXXXXX").string();
    DS_CHECK(::mkdtemp(name.data()) != nullptr, "no temporary directory");
    path_ = name;
  }
  ~FileTestDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FileTestDir(const FileTestDir&) = delete;
  FileTestDir& operator=(const FileTestDir&) = delete;

  std::string path() const { return path_.string(); }
  std::string File(const std::string& name) const { return (path_ / name).string(); }
  int NumFiles() const {
    int n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      n += entry.exists() || entry.is_symlink();
    return n;
  }
  void Put(const std::string& name, const std::string& content) const {
    std::ofstream(File(name), std::ios::binary) << content;
  }
  std::string Get(const std::string& name) const {
    std::ifstream in(File(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path path_;
};

}  // namespace deepshock
