// SPDX-License-Identifier: Apache-2.0
#include "formats/gguf_parse.h"

#include <cstring>
#include <limits>
#include <unordered_set>

#include "formats/gguf_types.h"

namespace deepshock {
namespace {

// A place in the header that only moves forward and never past the end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  Result<std::span<const std::byte>> Take(uint64_t size) {
    if (size > left())
      return Fail("expected {} bytes at offset {}, found the file's last {}", size, at_, left());
    const auto taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  template <typename T>
  Result<T> Read() {
    DS_ASSIGN(const auto bytes, Take(sizeof(T)));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  Result<std::string_view> ReadString() {
    DS_ASSIGN(const uint64_t size, Read<uint64_t>());
    DS_ASSIGN(const auto bytes, Take(size));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

template <typename T>
T Load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

// A number or bool of `type` at `data`.
GgufScalar LoadScalar(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kU8:
      return uint64_t{Load<uint8_t>(data)};
    case GgufType::kI8:
      return int64_t{Load<int8_t>(data)};
    case GgufType::kU16:
      return uint64_t{Load<uint16_t>(data)};
    case GgufType::kI16:
      return int64_t{Load<int16_t>(data)};
    case GgufType::kU32:
      return uint64_t{Load<uint32_t>(data)};
    case GgufType::kI32:
      return int64_t{Load<int32_t>(data)};
    case GgufType::kF32:
      return double{Load<float>(data)};
    case GgufType::kBool:
      return Load<uint8_t>(data) != 0;
    case GgufType::kU64:
      return Load<uint64_t>(data);
    case GgufType::kI64:
      return Load<int64_t>(data);
    case GgufType::kF64:
      return Load<double>(data);
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  DS_CHECK(false, "not a number");
}

Result<GgufType> ReadType(Cursor* cursor) {
  DS_ASSIGN(const uint32_t type, cursor->Read<uint32_t>());
  if (type >= kNumGgufTypes) return Fail("expected a value type below {}, found {}", kNumGgufTypes, type);
  return static_cast<GgufType>(type);
}

Result<GgufArray> ReadArray(Cursor* cursor) {
  GgufArray array;
  DS_ASSIGN(array.type, ReadType(cursor));
  DS_ASSIGN(array.count, cursor->Read<uint64_t>());
  if (array.type == GgufType::kArray)
    return Fail("expected an array of numbers or strings, found an array of arrays");
  const size_t element_bytes = array.type == GgufType::kString ? sizeof(uint64_t) : GgufTypeBytes(array.type);
  if (array.count > cursor->left() / element_bytes) {
    return Fail("expected an array that fits into the file's last {} bytes, found {} elements of type {}",
                cursor->left(), array.count, GgufTypeName(array.type));
  }
  if (array.type != GgufType::kString) {
    DS_ASSIGN(array.packed, cursor->Take(array.count * element_bytes));
    return array;
  }
  array.strings.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    const Result<std::string_view> text = cursor->ReadString();
    if (!text.ok()) return text.status().WithContext(fmt::format("element {}", i));
    array.strings.push_back(*text);
  }
  return array;
}

Result<GgufValue> ReadValue(Cursor* cursor, GgufType type) {
  if (type == GgufType::kArray) {
    DS_ASSIGN(GgufArray array, ReadArray(cursor));
    return GgufValue(std::move(array));
  }
  if (type == GgufType::kString) {
    DS_ASSIGN(const std::string_view text, cursor->ReadString());
    return GgufValue(GgufScalar(text));
  }
  DS_ASSIGN(const auto bytes, cursor->Take(GgufTypeBytes(type)));
  if (type == GgufType::kBool && Load<uint8_t>(bytes.data()) > 1) {
    return Fail("expected a bool of 0 or 1, found {}", Load<uint8_t>(bytes.data()));
  }
  return GgufValue(LoadScalar(type, bytes.data()));
}

Status ReadKeys(Cursor* cursor, uint64_t num_keys, GgufPart* part) {
  for (uint64_t i = 0; i < num_keys; ++i) {
    DS_ASSIGN(const std::string_view key,
              cursor->ReadString().WithContext(fmt::format("key {} of {}", i, num_keys)));
    DS_RETURN_IF_ERROR(CheckName("key", key));
    const auto context = [&] { return "key " + Quoted(key); };
    const Result<GgufType> type = ReadType(cursor);
    if (!type.ok()) return type.status().WithContext(context());
    Result<GgufValue> value = ReadValue(cursor, *type);
    if (!value.ok()) return value.status().WithContext(context());
    if (!part->metadata.emplace(key, *std::move(value)).second) {
      return Fail("key {}: expected once, found twice", Quoted(key));
    }
    part->types.emplace(key, *type);
  }
  return {};
}

Result<uint64_t> FindAlignment(const GgufPart& part) {
  const auto it = part.metadata.find("general.alignment");
  if (it == part.metadata.end()) return uint64_t{kGgufDefaultAlignment};
  const auto* scalar = std::get_if<GgufScalar>(&it->second);
  const auto* value = scalar == nullptr ? nullptr : std::get_if<uint64_t>(scalar);
  if (value == nullptr) {
    return Fail("key \"general.alignment\": expected u32, found {}",
                GgufTypeName(part.types.find(it->first)->second));
  }
  const bool power_of_two = *value != 0 && (*value & (*value - 1)) == 0;
  if (!power_of_two || *value > std::numeric_limits<uint32_t>::max()) {
    return Fail("key \"general.alignment\": expected a power of two, found {}", *value);
  }
  return *value;
}

struct TensorInfo {
  StoredTensor tensor;  // without data
  uint64_t offset = 0;  // from the start of the data
};

Status ReadTensorInfo(Cursor* cursor, TensorInfo* info) {
  StoredTensor& tensor = info->tensor;
  DS_ASSIGN(const uint32_t num_dims, cursor->Read<uint32_t>());
  if (num_dims > kGgufMaxDims)
    return Fail("expected at most {} dimensions, found {}", kGgufMaxDims, num_dims);
  tensor.dims.resize(num_dims);
  for (uint32_t i = 0; i < num_dims; ++i) {
    DS_ASSIGN(const uint64_t dim, cursor->Read<uint64_t>());
    if (dim == 0 || dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail("expected dimensions from 1 to 2^63 - 1, found {}", dim);
    }
    tensor.dims[num_dims - 1 - i] = static_cast<int64_t>(dim);
  }
  DS_ASSIGN(const uint32_t type, cursor->Read<uint32_t>());
  const std::optional<DType> dtype = DTypeOfGguf(type);
  if (!dtype) return Fail("expected a supported type, found {}", DescribeGgufTensorType(type));
  tensor.dtype = *dtype;
  DS_ASSIGN(tensor.bytes, StoredBytes(*dtype, tensor.dims));
  DS_ASSIGN(info->offset, cursor->Read<uint64_t>());
  return {};
}

Result<std::vector<TensorInfo>> ReadTensorInfos(Cursor* cursor, uint64_t num_tensors) {
  std::vector<TensorInfo> infos;  // grows as infos are found: the count alone allocates nothing
  std::unordered_set<std::string_view> names;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    DS_ASSIGN(const std::string_view name,
              cursor->ReadString().WithContext(fmt::format("tensor {} of {}", i, num_tensors)));
    DS_RETURN_IF_ERROR(CheckName("tensor", name));
    if (!names.insert(name).second) return Fail("tensor {}: expected once, found twice", Quoted(name));
    TensorInfo info;
    info.tensor.name = name;
    const Status status = ReadTensorInfo(cursor, &info);
    if (!status.ok()) return status.WithContext("tensor " + Quoted(name));
    infos.push_back(std::move(info));
  }
  return infos;
}

Status CheckVersion(uint32_t version) {
  if (version == 2 || version == 3) return {};
  if (const uint32_t swapped = __builtin_bswap32(version); swapped >= 1 && swapped <= 3) {
    return Fail("expected a little-endian GGUF file, found a big-endian one of version {}", swapped);
  }
  return Fail("expected GGUF version 2 or 3, found {}", version);
}

}  // namespace

GgufScalar PackedElement(const GgufArray& array, uint64_t index) {
  const size_t element_bytes = GgufTypeBytes(array.type);
  DS_CHECK(index < array.packed.size() / element_bytes, "element outside the array");
  return LoadScalar(array.type, array.packed.data() + index * element_bytes);
}

Result<GgufPart> ParseGguf(std::span<const std::byte> bytes) {
  Cursor cursor(bytes);
  const auto magic = cursor.Take(4);
  if (!magic.ok() || std::memcmp(magic->data(), "GGUF", 4) != 0) {
    return Fail("expected a GGUF file, found no \"GGUF\" at its start");
  }
  DS_ASSIGN(const uint32_t version, cursor.Read<uint32_t>());
  DS_RETURN_IF_ERROR(CheckVersion(version));
  DS_ASSIGN(const uint64_t num_tensors, cursor.Read<uint64_t>());
  DS_ASSIGN(const uint64_t num_keys, cursor.Read<uint64_t>());
  GgufPart part;
  DS_RETURN_IF_ERROR(ReadKeys(&cursor, num_keys, &part));
  DS_ASSIGN(const uint64_t alignment, FindAlignment(part));
  DS_ASSIGN(auto infos, ReadTensorInfos(&cursor, num_tensors));

  const uint64_t data_start = (cursor.at() + alignment - 1) / alignment * alignment;
  const uint64_t data_bytes = data_start < bytes.size() ? bytes.size() - data_start : 0;
  part.tensors.reserve(infos.size());
  for (TensorInfo& info : infos) {
    const uint64_t size = static_cast<uint64_t>(info.tensor.bytes);
    if (info.offset % alignment != 0) {
      return Fail("tensor {}: expected an offset that is a multiple of {}, found {}",
                  Quoted(info.tensor.name), alignment, info.offset);
    }
    if (info.offset > data_bytes || size > data_bytes - info.offset) {
      return Fail("tensor {}: expected {} bytes at offset {} of the data, found {} bytes of data",
                  Quoted(info.tensor.name), size, info.offset, data_bytes);
    }
    info.tensor.data = bytes.data() + data_start + info.offset;
    part.tensors.push_back(std::move(info.tensor));
  }
  DS_RETURN_IF_ERROR(CheckNoOverlap(part.tensors));
  return part;
}

}  // namespace deepshock
