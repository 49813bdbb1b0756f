// SPDX-License-Identifier: Apache-2.0
#include "formats/gguf.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "formats/gguf_parse.h"
#include "formats/gguf_types.h"

namespace deepshock {
namespace {

constexpr int64_t kMaxParts = 65535;  // split.count is a u16

// llama.cpp's naming: parts are counted from 1 in names and from 0 in split.no.
std::string PartSuffix(int64_t number, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

std::optional<int64_t> ToInt(const GgufScalar& value) {
  if (const auto* i = std::get_if<int64_t>(&value)) return *i;
  if (const auto* u = std::get_if<uint64_t>(&value)) {
    if (*u <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return static_cast<int64_t>(*u);
  }
  return std::nullopt;
}

std::optional<double> ToDouble(const GgufScalar& value) {
  if (const auto* d = std::get_if<double>(&value)) return *d;
  if (const auto* i = std::get_if<int64_t>(&value)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<uint64_t>(&value)) return static_cast<double>(*u);
  return std::nullopt;
}

std::string DescribeScalar(const GgufScalar& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) return Quoted(*text);
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* i = std::get_if<int64_t>(&value)) return fmt::format("{}", *i);
  if (const auto* u = std::get_if<uint64_t>(&value)) return fmt::format("{}", *u);
  return fmt::format("{}", std::get<double>(value));
}

}  // namespace

Result<std::unique_ptr<GgufFile>> GgufFile::OpenPart(const std::string& path) {
  DS_ASSIGN(auto mapped, MappedFile::Open(path));
  Result<GgufPart> part = ParseGguf(mapped->bytes());
  if (!part.ok()) return part.status().WithContext(path);
  std::unique_ptr<GgufFile> file(new GgufFile);
  file->path_ = path;
  file->files_.push_back(std::move(mapped));
  file->metadata_ = std::move(part->metadata);
  file->types_ = std::move(part->types);
  file->tensors_ = std::move(part->tensors);
  DS_RETURN_IF_ERROR(file->AddToIndex(0));
  return file;
}

Status GgufFile::AddToIndex(size_t first_tensor) {
  for (size_t i = first_tensor; i < tensors_.size(); ++i) {
    if (!index_.emplace(tensors_[i].name, i).second) {
      return Fail("tensor {}: expected in one part, found in two", Quoted(tensors_[i].name));
    }
  }
  return {};
}

Status GgufFile::CheckPart(int64_t number, int64_t count) const {
  DS_ASSIGN(const int64_t found_number, GetInt("split.no"));
  DS_ASSIGN(const int64_t found_count, GetInt("split.count"));
  if (found_number == number && found_count == count) return {};
  return Fail("{}: expected part {} of {}, found split.no {} of split.count {}", path_, number, count,
              found_number, found_count);
}

Status GgufFile::Append(GgufFile part) {
  const size_t first_tensor = tensors_.size();
  files_.insert(files_.end(), part.files_.begin(), part.files_.end());
  std::move(part.tensors_.begin(), part.tensors_.end(), std::back_inserter(tensors_));
  return AddToIndex(first_tensor).WithContext(part.path_);
}

Result<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  DS_ASSIGN(auto opened, OpenPart(path));
  if (!opened->Has("split.count")) return opened;
  DS_ASSIGN(const int64_t count, opened->GetInt("split.count"));
  if (count == 0 || count == 1) return opened;
  DS_ASSIGN(const int64_t number, opened->GetInt("split.no"));
  if (count < 0 || count > kMaxParts || number < 0 || number >= count) {
    return Fail("{}: expected split.no below split.count of at most {}, found {} and {}", path, kMaxParts,
                number, count);
  }
  const std::string suffix = PartSuffix(number, count);
  if (!std::string_view(path).ends_with(suffix)) {
    return Fail(
        "{}: expected a name that ends in {}, as this part of a split set must have to find the others", path,
        suffix);
  }
  const std::string prefix = path.substr(0, path.size() - suffix.size());
  std::unique_ptr<GgufFile> whole;
  for (int64_t i = 0; i < count; ++i) {
    std::unique_ptr<GgufFile> part;
    if (i == number) {
      part = std::move(opened);
    } else {
      DS_ASSIGN(part, OpenPart(prefix + PartSuffix(i, count)));
    }
    DS_RETURN_IF_ERROR(part->CheckPart(i, count));
    if (whole == nullptr) {
      whole = std::move(part);
    } else {
      DS_RETURN_IF_ERROR(whole->Append(std::move(*part)));
    }
  }
  if (!whole->Has("split.tensors.count")) return whole;
  DS_ASSIGN(const int64_t num_tensors, whole->GetInt("split.tensors.count"));
  if (num_tensors != static_cast<int64_t>(whole->tensors_.size())) {
    return Fail("{}: expected {} tensors in the {} parts (split.tensors.count), found {}", whole->path_,
                num_tensors, count, whole->tensors_.size());
  }
  return whole;
}

const StoredTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

std::optional<GgufType> GgufFile::TypeOf(std::string_view key) const {
  const auto it = types_.find(key);
  return it == types_.end() ? std::nullopt : std::optional(it->second);
}

// ---- Typed look-ups ----

Status GgufFile::WrongValue(std::string_view key, std::string_view expected) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end())
    return Fail("{}: key \"{}\": expected {}, found no such key", path_, key, expected);
  if (const auto* array = std::get_if<GgufArray>(&it->second)) {
    return Fail("{}: key \"{}\": expected {}, found an array of {} {}", path_, key, expected, array->count,
                GgufTypeName(array->type));
  }
  return Fail("{}: key \"{}\": expected {}, found {} {}", path_, key, expected,
              GgufTypeName(types_.find(key)->second), DescribeScalar(std::get<GgufScalar>(it->second)));
}

Result<const GgufScalar*> GgufFile::FindScalar(std::string_view key, std::string_view expected) const {
  const auto it = metadata_.find(key);
  const auto* scalar = it == metadata_.end() ? nullptr : std::get_if<GgufScalar>(&it->second);
  if (scalar == nullptr) return WrongValue(key, expected);
  return scalar;
}

Result<const GgufArray*> GgufFile::FindArray(std::string_view key, std::string_view expected) const {
  const auto it = metadata_.find(key);
  const auto* array = it == metadata_.end() ? nullptr : std::get_if<GgufArray>(&it->second);
  if (array == nullptr) return WrongValue(key, expected);
  return array;
}

Result<int64_t> GgufFile::GetInt(std::string_view key) const {
  constexpr std::string_view kExpected = "an integer of at most 63 bits";
  DS_ASSIGN(const GgufScalar* scalar, FindScalar(key, kExpected));
  const std::optional<int64_t> value = ToInt(*scalar);
  if (!value) return WrongValue(key, kExpected);
  return *value;
}

Result<double> GgufFile::GetFloat(std::string_view key) const {
  constexpr std::string_view kExpected = "a number";
  DS_ASSIGN(const GgufScalar* scalar, FindScalar(key, kExpected));
  const std::optional<double> value = ToDouble(*scalar);
  if (!value) return WrongValue(key, kExpected);
  return *value;
}

Result<bool> GgufFile::GetBool(std::string_view key) const {
  constexpr std::string_view kExpected = "a bool";
  DS_ASSIGN(const GgufScalar* scalar, FindScalar(key, kExpected));
  const auto* value = std::get_if<bool>(scalar);
  if (value == nullptr) return WrongValue(key, kExpected);
  return *value;
}

Result<std::string> GgufFile::GetString(std::string_view key) const {
  constexpr std::string_view kExpected = "a string";
  DS_ASSIGN(const GgufScalar* scalar, FindScalar(key, kExpected));
  const auto* value = std::get_if<std::string_view>(scalar);
  if (value == nullptr) return WrongValue(key, kExpected);
  return std::string(*value);
}

Result<std::vector<std::string_view>> GgufFile::GetStrings(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of strings";
  DS_ASSIGN(const GgufArray* array, FindArray(key, kExpected));
  if (array->type != GgufType::kString) return WrongValue(key, kExpected);
  return array->strings;
}

Result<std::vector<int64_t>> GgufFile::GetInts(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of integers of at most 63 bits";
  DS_ASSIGN(const GgufArray* array, FindArray(key, kExpected));
  if (array->type == GgufType::kString) return WrongValue(key, kExpected);
  std::vector<int64_t> out(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    const GgufScalar element = PackedElement(*array, i);
    const auto* flag = std::get_if<bool>(&element);
    const std::optional<int64_t> value =
        flag != nullptr ? std::optional<int64_t>(*flag ? 1 : 0) : ToInt(element);
    if (!value) return WrongValue(key, kExpected);
    out[i] = *value;
  }
  return out;
}

Result<std::vector<float>> GgufFile::GetFloats(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of numbers";
  DS_ASSIGN(const GgufArray* array, FindArray(key, kExpected));
  if (array->type == GgufType::kString) return WrongValue(key, kExpected);
  std::vector<float> out(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    const std::optional<double> value = ToDouble(PackedElement(*array, i));
    if (!value) return WrongValue(key, kExpected);
    out[i] = static_cast<float>(*value);
  }
  return out;
}

}  // namespace deepshock
