// SPDX-License-Identifier: Apache-2.0
// GGUF v3 (v2 read as well): metadata and tensors of one file or of a split set, memory-mapped and little-endian.
// Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): "GGUF", u32 version, u64 tensor count,
// u64 key count, keys, tensor infos, padding to general.alignment, data.
// Everything read is checked against the file's size before it is used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "base/result.h"
#include "formats/stored_tensor.h"
#include "tensor/dtype.h"

namespace deepshock {

enum class GgufType : uint32_t {
  kU8 = 0, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64,
};

// Numbers keep their kind; arrays are homogeneous. Strings are views into the mapped file when read.
struct GgufArray;
using GgufScalar = std::variant<bool, int64_t, uint64_t, double, std::string_view>;
struct GgufArray {
  GgufType type = GgufType::kU8;
  uint64_t count = 0;
  // For numbers: the packed little-endian elements. For strings: empty, use `strings`.
  std::span<const std::byte> packed;
  std::vector<std::string_view> strings;
};
using GgufValue = std::variant<GgufScalar, GgufArray>;

class GgufFile {
 public:
  // For one part of a split set ("x-00001-of-00003.gguf") opens all parts.
  static Result<std::unique_ptr<GgufFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // In file order.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* FindTensor(std::string_view name) const;  // null when absent

  bool Has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  // Typed look-ups. The errors name file, key, what was expected and what was found.
  // Any integer kind converts when the value fits; bool only from bool.
  Result<int64_t> GetInt(std::string_view key) const;
  Result<double> GetFloat(std::string_view key) const;
  Result<bool> GetBool(std::string_view key) const;
  Result<std::string> GetString(std::string_view key) const;
  Result<std::vector<std::string_view>> GetStrings(std::string_view key) const;
  Result<std::vector<int64_t>> GetInts(std::string_view key) const;
  Result<std::vector<float>> GetFloats(std::string_view key) const;

  // The mapped files, for whoever keeps views into them.
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }

 private:
  GgufFile() = default;
  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Writes one GGUF v3 file: first all keys, then all tensor infos, then Begin(), then each tensor's bytes in the
// order they were declared, then Finish(). Streams: nothing but the header is held in memory.
class GgufWriter {
 public:
  static Result<GgufWriter> Create(const std::string& path);

  void SetString(std::string_view key, std::string_view value);
  void SetU32(std::string_view key, uint32_t value);
  void SetU64(std::string_view key, uint64_t value);
  void SetF32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetStrings(std::string_view key, std::span<const std::string> values);
  void SetI32s(std::string_view key, std::span<const int32_t> values);
  void SetF32s(std::string_view key, std::span<const float> values);
  // Copies a key as it was read from another file.
  void SetValue(std::string_view key, const GgufValue& value, GgufType scalar_type);

  // dims outermost first. Refuses types GGUF does not have (F8E4M3, MXFP4 split).
  Status DeclareTensor(std::string_view name, DType dtype, std::span<const int64_t> dims);
  Status Begin();
  // Appends to the current tensor; moves to the next when it is complete.
  Status WriteTensorData(std::span<const std::byte> bytes);
  // Fails when a declared tensor is incomplete.
  Status Finish();

 private:
  struct Declared {
    int64_t bytes;
  };
  explicit GgufWriter(OutputFile file) : file_(std::move(file)) {}
  OutputFile file_;
  std::string keys_;
  uint64_t num_keys_ = 0;
  std::string infos_;
  std::vector<Declared> tensors_;
  uint64_t next_offset_ = 0;
  size_t current_ = 0;
  int64_t written_ = 0;
};

}  // namespace deepshock
