// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: temporary files and hand-made GGUF bytes. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "formats/stored_tensor.h"

namespace deepshock {

// A folder of its own for one test, removed with all that is in it.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = testing::TempDir() + "/deepshock_formats_XXXXXX";
    path_ = ::mkdtemp(pattern.data()) == nullptr ? std::string() : pattern;
    EXPECT_FALSE(path_.empty());
  }
  ~TempFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, std::string_view bytes) const {
    std::ofstream(Path(name), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return Path(name);
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  int NumFiles() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) count += entry.exists();
    return count;
  }

 private:
  std::string path_;
};

// Appends the fields of a GGUF file as they lie in it, right or wrong.
class RawGguf {
 public:
  explicit RawGguf(uint64_t num_tensors, uint64_t num_keys, uint32_t version = 3) {
    bytes = "GGUF";
    Put(version);
    Put(num_tensors);
    Put(num_keys);
  }
  template <typename T>
  RawGguf& Put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  RawGguf& String(std::string_view text) {
    Put<uint64_t>(text.size());
    bytes += text;
    return *this;
  }
  RawGguf& Key(std::string_view name, GgufType type) { return String(name).Put(static_cast<uint32_t>(type)); }
  RawGguf& U32(std::string_view name, uint32_t value) { return Key(name, GgufType::kU32).Put(value); }
  // dims innermost first, as GGUF has them
  RawGguf& Tensor(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type,
                  uint64_t offset) {
    String(name).Put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) Put(dim);
    return Put(type).Put(offset);
  }
  // Pads to the alignment and appends the data.
  RawGguf& Data(size_t size, size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(i);
    return *this;
  }

  std::string bytes;
};

// Reads every byte of every tensor, so that a sanitizer sees one that is not there.
inline uint64_t Touch(const std::vector<StoredTensor>& tensors) {
  uint64_t sum = 0;
  for (const StoredTensor& tensor : tensors) {
    for (int64_t i = 0; i < tensor.bytes; ++i) sum += static_cast<uint64_t>(tensor.data[i]);
  }
  return sum;
}

}  // namespace deepshock
