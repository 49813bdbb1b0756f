// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "formats/gguf.h"
#include "formats/gguf_types.h"

namespace deepshock {
namespace {

constexpr uint32_t kVersion = 3;

template <typename T>
void Put(std::string* out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void PutString(std::string* out, std::string_view text) {
  Put<uint64_t>(out, text.size());
  out->append(text);
}

// Appends `value` as a number of type T. False when it does not fit.
template <typename T, typename V>
bool PutFitting(std::string* out, V value) {
  const T converted = static_cast<T>(value);
  const bool same_sign = (converted < T{}) == (value < V{});
  if (static_cast<V>(converted) != value || !same_sign) return false;
  Put(out, converted);
  return true;
}

template <typename V>
bool PutInteger(std::string* out, V value, GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return PutFitting<uint8_t>(out, value);
    case GgufType::kI8:
      return PutFitting<int8_t>(out, value);
    case GgufType::kU16:
      return PutFitting<uint16_t>(out, value);
    case GgufType::kI16:
      return PutFitting<int16_t>(out, value);
    case GgufType::kU32:
      return PutFitting<uint32_t>(out, value);
    case GgufType::kI32:
      return PutFitting<int32_t>(out, value);
    case GgufType::kU64:
      return PutFitting<uint64_t>(out, value);
    case GgufType::kI64:
      return PutFitting<int64_t>(out, value);
    default:
      return false;
  }
}

// Appends `value` as `type`. False when it cannot be one.
bool PutScalar(std::string* out, const GgufScalar& value, GgufType type) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (type != GgufType::kString) return false;
    PutString(out, *text);
    return true;
  }
  if (const auto* flag = std::get_if<bool>(&value)) {
    if (type != GgufType::kBool) return false;
    Put<uint8_t>(out, *flag ? 1 : 0);
    return true;
  }
  if (const auto* number = std::get_if<double>(&value)) {
    if (type == GgufType::kF32) Put(out, static_cast<float>(*number));
    if (type == GgufType::kF64) Put(out, *number);
    return type == GgufType::kF32 || type == GgufType::kF64;
  }
  if (const auto* i = std::get_if<int64_t>(&value)) return PutInteger(out, *i, type);
  return PutInteger(out, std::get<uint64_t>(value), type);
}

bool DescribesItsFile(std::string_view key) {
  return key == "general.alignment" || key.starts_with("split.");
}

}  // namespace

Result<GgufWriter> GgufWriter::Create(const std::string& path) {
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  return GgufWriter(path, std::move(file));
}

// ---- Keys ----

bool GgufWriter::StartKey(std::string_view key, GgufType type) {
  DS_CHECK(!begun_, "a key after Begin");
  Status status = CheckName("key", key);
  if (status.ok() && !key_names_.emplace(key).second) {
    status = Fail("key {}: expected once, found twice", Quoted(key));
  }
  if (!status.ok()) {
    if (problem_.ok()) problem_ = status.WithContext(path_);
    return false;
  }
  PutString(&keys_, key);
  Put(&keys_, static_cast<uint32_t>(type));
  return true;
}

void GgufWriter::StartArray(GgufType type, uint64_t count) {
  Put(&keys_, static_cast<uint32_t>(type));
  Put(&keys_, count);
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  if (StartKey(key, GgufType::kString)) PutString(&keys_, value);
}

void GgufWriter::SetU32(std::string_view key, uint32_t value) {
  if (StartKey(key, GgufType::kU32)) Put(&keys_, value);
}

void GgufWriter::SetU64(std::string_view key, uint64_t value) {
  if (StartKey(key, GgufType::kU64)) Put(&keys_, value);
}

void GgufWriter::SetF32(std::string_view key, float value) {
  if (StartKey(key, GgufType::kF32)) Put(&keys_, value);
}

void GgufWriter::SetBool(std::string_view key, bool value) {
  if (StartKey(key, GgufType::kBool)) Put<uint8_t>(&keys_, value ? 1 : 0);
}

void GgufWriter::SetStrings(std::string_view key, std::span<const std::string> values) {
  if (!StartKey(key, GgufType::kArray)) return;
  StartArray(GgufType::kString, values.size());
  for (const std::string& value : values) PutString(&keys_, value);
}

void GgufWriter::SetI32s(std::string_view key, std::span<const int32_t> values) {
  if (!StartKey(key, GgufType::kArray)) return;
  StartArray(GgufType::kI32, values.size());
  for (const int32_t value : values) Put(&keys_, value);
}

void GgufWriter::SetF32s(std::string_view key, std::span<const float> values) {
  if (!StartKey(key, GgufType::kArray)) return;
  StartArray(GgufType::kF32, values.size());
  for (const float value : values) Put(&keys_, value);
}

void GgufWriter::SetValue(std::string_view key, const GgufValue& value, GgufType scalar_type) {
  if (DescribesItsFile(key)) return;
  if (const auto* array = std::get_if<GgufArray>(&value)) {
    if (!StartKey(key, GgufType::kArray)) return;
    StartArray(array->type, array->count);
    keys_.append(reinterpret_cast<const char*>(array->packed.data()), array->packed.size());
    for (const std::string_view text : array->strings) PutString(&keys_, text);
    return;
  }
  if (!StartKey(key, scalar_type)) return;
  if (PutScalar(&keys_, std::get<GgufScalar>(value), scalar_type) || !problem_.ok()) return;
  problem_ = Fail("{}: key {}: expected a value that fits {}, found another", path_, Quoted(key),
                  GgufTypeName(scalar_type));
}

// ---- Tensors ----

void GgufWriter::SetAlignment(uint32_t alignment) {
  DS_CHECK(std::has_single_bit(alignment) && alignment >= 32 && alignment <= 1 << 20, "an alignment");
  DS_CHECK(tensors_.empty(), "an alignment after a tensor");
  alignment_ = alignment;
  SetU32("general.alignment", alignment);
}

Status GgufWriter::DeclareTensor(std::string_view name, DType dtype, std::span<const int64_t> dims) {
  DS_CHECK(!begun_, "a tensor after Begin");
  DS_RETURN_IF_ERROR(CheckName("tensor", name).WithContext(path_));
  const std::string context = fmt::format("{}: tensor {}", path_, Quoted(name));
  const std::optional<uint32_t> type = GgufOfDType(dtype);
  if (!type) return Fail("{}: expected a type that GGUF has, found {}", context, Name(dtype));
  if (dims.size() > kGgufMaxDims) {
    return Fail("{}: expected at most {} dimensions, found {}", context, kGgufMaxDims, dims.size());
  }
  if (std::any_of(dims.begin(), dims.end(), [](int64_t dim) { return dim < 1; })) {
    return Fail("{}: expected dimensions of at least 1, found [{}]", context, fmt::join(dims, ", "));
  }
  DS_ASSIGN(const int64_t bytes, StoredBytes(dtype, dims).WithContext(context));
  uint64_t end;
  if (__builtin_add_overflow(next_offset_, static_cast<uint64_t>(bytes) + alignment_, &end)) {
    return Fail("{}: expected fewer than 2^64 bytes of data, found more", context);
  }
  if (!tensor_names_.emplace(name).second) return Fail("{}: expected once, found twice", context);

  PutString(&infos_, name);
  Put(&infos_, static_cast<uint32_t>(dims.size()));
  for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim) Put(&infos_, static_cast<uint64_t>(*dim));
  Put(&infos_, *type);
  Put(&infos_, next_offset_);
  tensors_.push_back({std::string(name), bytes});
  next_offset_ = (next_offset_ + static_cast<uint64_t>(bytes) + alignment_ - 1) / alignment_ * alignment_;
  return {};
}

Status GgufWriter::PadToAlignment() {
  const uint64_t past = static_cast<uint64_t>(file_.bytes_written()) % alignment_;
  if (past == 0) return {};
  return file_.Write(std::vector<std::byte>(static_cast<size_t>(alignment_ - past)));
}

Status GgufWriter::Begin() {
  DS_CHECK(!begun_, "Begin called twice");
  DS_RETURN_IF_ERROR(problem_);
  begun_ = true;
  std::string head = "GGUF";
  Put(&head, kVersion);
  Put<uint64_t>(&head, tensors_.size());
  Put<uint64_t>(&head, key_names_.size());
  DS_RETURN_IF_ERROR(file_.Write(head));
  DS_RETURN_IF_ERROR(file_.Write(keys_));
  DS_RETURN_IF_ERROR(file_.Write(infos_));
  return PadToAlignment();
}

Status GgufWriter::WriteTensorData(std::span<const std::byte> bytes) {
  DS_CHECK(begun_, "tensor data before Begin");
  if (bytes.empty()) return {};
  if (current_ == tensors_.size()) {
    return Fail("{}: expected no more tensor data, found {} bytes", path_, bytes.size());
  }
  const Declared& tensor = tensors_[current_];
  if (bytes.size() > static_cast<uint64_t>(tensor.bytes - written_)) {
    return Fail("{}: tensor {}: expected {} bytes, found {}", path_, Quoted(tensor.name), tensor.bytes,
                static_cast<uint64_t>(written_) + bytes.size());
  }
  DS_RETURN_IF_ERROR(file_.Write(bytes));
  written_ += static_cast<int64_t>(bytes.size());
  if (written_ < tensor.bytes) return {};
  ++current_;
  written_ = 0;
  return PadToAlignment();
}

Status GgufWriter::Finish() {
  DS_CHECK(begun_, "Finish before Begin");
  if (current_ < tensors_.size()) {
    const Declared& tensor = tensors_[current_];
    return Fail("{}: tensor {}: expected {} bytes, found {}", path_, Quoted(tensor.name), tensor.bytes,
                written_);
  }
  return file_.Commit();
}

}  // namespace deepshock
