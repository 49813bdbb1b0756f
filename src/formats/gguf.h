// SPDX-License-Identifier: Apache-2.0
// GGUF v3 (v2 read as well): metadata and tensors of one file or of a split set, memory-mapped and
// little-endian. Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): "GGUF", u32 version, u64
// tensor count, u64 key count, keys, tensor infos, padding to general.alignment, data. Everything read is
// checked against the file's size before it is used. Refused: other versions, big-endian files, arrays of
// arrays, tensor types that ggml has and this engine has not, overlapping tensors. A GgufFile does not change
// once open and may be read from any thread; a GgufWriter belongs to one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
  kU8 = 0,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
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
  // For any part of a split set ("x-00001-of-00003.gguf", key split.count above 1) opens all parts; the
  // metadata is the first one's.
  static Result<std::unique_ptr<GgufFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // In file order.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* FindTensor(std::string_view name) const;  // null when absent

  bool Has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  // The kind a value is stored as, kArray for arrays; nothing when the key is absent.
  std::optional<GgufType> TypeOf(std::string_view key) const;
  // Typed look-ups. The errors name file, key, what was expected and what was found.
  // Any integer kind converts when the value fits, floats take every kind of number; bool only from bool, but
  // an array of bools reads as integers 0 and 1.
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
  static Result<std::unique_ptr<GgufFile>> OpenPart(const std::string& path);
  Status CheckPart(int64_t number, int64_t count) const;
  Status Append(GgufFile part);
  Status AddToIndex(size_t first_tensor);
  Result<const GgufScalar*> FindScalar(std::string_view key, std::string_view expected) const;
  Result<const GgufArray*> FindArray(std::string_view key, std::string_view expected) const;
  Status WrongValue(std::string_view key, std::string_view expected) const;

  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::map<std::string, GgufType, std::less<>> types_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Writes one GGUF v3 file, tensors aligned to 32 bytes: first all keys, then all tensor infos, then Begin(),
// then each tensor's bytes in the order they were declared, then Finish(). Streams: nothing but the header is
// held in memory. Nothing appears under `path` before Finish() has succeeded.
class GgufWriter {
 public:
  static Result<GgufWriter> Create(const std::string& path);

  // A key that is set twice or is no valid name is reported by Begin().
  void SetString(std::string_view key, std::string_view value);
  void SetU32(std::string_view key, uint32_t value);
  void SetU64(std::string_view key, uint64_t value);
  void SetF32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetStrings(std::string_view key, std::span<const std::string> values);
  void SetI32s(std::string_view key, std::span<const int32_t> values);
  void SetF32s(std::string_view key, std::span<const float> values);
  // Copies a key as it was read from another file; a scalar is written as `scalar_type` (GgufFile::TypeOf),
  // which Begin() refuses when the value does not fit. Keys that describe the file they came from
  // (general.alignment, split.*) are left out.
  void SetValue(std::string_view key, const GgufValue& value, GgufType scalar_type);

  // Tensors begin at multiples of `alignment`, a power of two from 32 to 1 MiB; before any is declared.
  void SetAlignment(uint32_t alignment);
  // dims outermost first. Refuses types GGUF does not have (F8E4M3, MXFP4 split).
  Status DeclareTensor(std::string_view name, DType dtype, std::span<const int64_t> dims);
  Status Begin();
  // Appends to the current tensor; moves to the next when it is complete.
  Status WriteTensorData(std::span<const std::byte> bytes);
  // Fails when a declared tensor is incomplete.
  Status Finish();

 private:
  struct Declared {
    std::string name;
    int64_t bytes;
  };
  GgufWriter(std::string path, OutputFile file) : path_(std::move(path)), file_(std::move(file)) {}
  bool StartKey(std::string_view key, GgufType type);
  void StartArray(GgufType type, uint64_t count);
  Status PadToAlignment();

  std::string path_;
  OutputFile file_;
  bool begun_ = false;
  Status problem_;  // the first error of the Set functions, which return nothing
  std::string keys_;
  std::set<std::string, std::less<>> key_names_;
  std::string infos_;
  std::set<std::string, std::less<>> tensor_names_;
  std::vector<Declared> tensors_;
  uint64_t alignment_ = 32;   // GGUF's default
  uint64_t next_offset_ = 0;  // of the next declared tensor's data
  size_t current_ = 0;        // the tensor being written
  int64_t written_ = 0;       // its bytes so far
};

}  // namespace deepshock
