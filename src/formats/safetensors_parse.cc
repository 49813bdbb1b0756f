// SPDX-License-Identifier: Apache-2.0
#include "formats/safetensors_parse.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/json.h"

namespace deepshock {
namespace {

// The limit of the format's reference implementation (https://github.com/huggingface/safetensors).
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = sizeof(uint64_t);

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr NamedType kTypes[] = {
    {"F64", DType::kF64}, {"F32", DType::kF32},   {"F16", DType::kF16},        {"BF16", DType::kBF16},
    {"I64", DType::kI64}, {"I32", DType::kI32},   {"I16", DType::kI16},        {"I8", DType::kI8},
    {"U8", DType::kU8},   {"BOOL", DType::kBool}, {"F8_E4M3", DType::kF8E4M3},
};

Result<DType> ReadType(const Json& entry) {
  const auto it = entry.find("dtype");
  if (it == entry.end() || !it->is_string()) return Fail("expected a string \"dtype\", found none");
  const std::string& name = it->get_ref<const std::string&>();
  for (const NamedType& type : kTypes) {
    if (type.name == name) return type.dtype;
  }
  return Fail("expected a supported dtype, found {}", Quoted(name));
}

// An array of integers from 0 to 2^63 - 1.
Result<std::vector<int64_t>> ReadIntegers(const Json& entry, const char* key) {
  const auto it = entry.find(key);
  if (it == entry.end() || !it->is_array()) return Fail("expected an array \"{}\", found none", key);
  std::vector<int64_t> out;
  out.reserve(it->size());
  for (const Json& element : *it) {
    // Json keeps every integer without a sign as unsigned.
    const bool fits = element.is_number_unsigned() &&
                      element.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (!fits) return Fail("\"{}\": expected integers from 0 to 2^63 - 1, found another value", key);
    out.push_back(element.get<int64_t>());
  }
  return out;
}

Status ReadTensor(const Json& entry, std::span<const std::byte> data, StoredTensor* tensor) {
  if (!entry.is_object()) return Fail("expected an object, found {}", entry.type_name());
  DS_ASSIGN(tensor->dtype, ReadType(entry));
  DS_ASSIGN(tensor->dims, ReadIntegers(entry, "shape"));
  DS_ASSIGN(const auto offsets, ReadIntegers(entry, "data_offsets"));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return Fail("expected data_offsets [begin, end], found [{}]", fmt::join(offsets, ", "));
  }
  if (static_cast<uint64_t>(offsets[1]) > data.size()) {
    return Fail("expected data_offsets within the file's {} bytes of data, found [{}, {}]", data.size(),
                offsets[0], offsets[1]);
  }
  DS_ASSIGN(tensor->bytes, StoredBytes(tensor->dtype, tensor->dims));
  if (offsets[1] - offsets[0] != tensor->bytes) {
    return Fail("expected {} bytes for {} [{}], found data_offsets of {}", tensor->bytes, Name(tensor->dtype),
                fmt::join(tensor->dims, ", "), offsets[1] - offsets[0]);
  }
  tensor->data = data.data() + offsets[0];
  return {};
}

Status ReadMetadata(const Json& entry, std::map<std::string, std::string>* metadata) {
  if (!entry.is_object())
    return Fail("{}: expected an object, found {}", kSafetensorsMetadata, entry.type_name());
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      return Fail("{} key {}: expected a string, found {}", kSafetensorsMetadata, Quoted(key),
                  value.type_name());
    }
    metadata->emplace(key, value.get<std::string>());
  }
  return {};
}

// The format allows no byte of the data without a tensor.
Status CheckNoHoles(std::span<const StoredTensor> tensors, std::span<const std::byte> data) {
  const int64_t used = std::accumulate(tensors.begin(), tensors.end(), int64_t{0},
                                       [](int64_t sum, const StoredTensor& t) { return sum + t.bytes; });
  // Tensors lie inside the data and do not overlap, so equal sums leave no room for holes.
  if (static_cast<uint64_t>(used) == data.size()) return {};
  return Fail("expected tensors to fill all {} bytes of data, found {} bytes unused", data.size(),
              static_cast<int64_t>(data.size()) - used);
}

}  // namespace

std::optional<std::string_view> SafetensorsTypeName(DType dtype) {
  for (const NamedType& type : kTypes) {
    if (type.dtype == dtype) return type.name;
  }
  return std::nullopt;
}

Result<ParsedSafetensors> ParseSafetensors(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes) {
    return Fail("expected a safetensors file of at least {} bytes, found {}", kLengthBytes, bytes.size());
  }
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const uint64_t limit = std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes);
  if (header_bytes > limit) {
    return Fail("expected a safetensors header of at most {} bytes, found a length of {}", limit,
                header_bytes);
  }
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  if (text.empty() || text.front() != '{')
    return Fail("expected a header that begins with \"{{\", found none");
  DS_ASSIGN(const Json header, ParseJson(text).WithContext("header"));

  ParsedSafetensors parsed;
  for (const auto& [name, entry] : header.items()) {
    if (name == kSafetensorsMetadata) {
      DS_RETURN_IF_ERROR(ReadMetadata(entry, &parsed.metadata));
      continue;
    }
    DS_RETURN_IF_ERROR(CheckName("tensor", name));
    StoredTensor tensor;
    tensor.name = name;
    const Status status = ReadTensor(entry, data, &tensor);
    if (!status.ok()) return status.WithContext("tensor " + Quoted(name));
    parsed.tensors.push_back(std::move(tensor));
  }
  DS_RETURN_IF_ERROR(CheckNoOverlap(parsed.tensors));
  DS_RETURN_IF_ERROR(CheckNoHoles(parsed.tensors, data));
  return parsed;
}

}  // namespace deepshock
