// SPDX-License-Identifier: Apache-2.0
#include "formats/stored_tensor.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace deepshock {
namespace {
constexpr size_t kMaxNameBytes = 65535;  // GGUF's limit of a key; no published tensor name comes near it
constexpr size_t kMaxQuotedBytes = 120;
}  // namespace

std::string Quoted(std::string_view name) {
  std::string out = "\"";
  const std::string_view shown = name.substr(0, kMaxQuotedBytes);
  for (size_t i = 0; i < shown.size();) {
    const Utf8Char c = DecodeUtf8(shown.substr(i));
    const std::string_view bytes = shown.substr(i, static_cast<size_t>(c.length));
    const bool control = c.code_point < 0x20 || (c.code_point >= 0x7F && c.code_point < 0xA0);
    // U+2028 and U+2029 break lines too.
    if (!c.valid || control || c.code_point == 0x2028 || c.code_point == 0x2029) {
      for (const char b : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(b));
    } else {
      out += bytes;
    }
    i += static_cast<size_t>(c.length);
  }
  if (name.size() > shown.size()) out += fmt::format("...({} bytes)", name.size());
  return out + "\"";
}

Status CheckName(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Fail("{} {}: expected a name of 1 to {} bytes, found {}", what, Quoted(name), kMaxNameBytes,
                name.size());
  }
  const size_t invalid = FindInvalidUtf8(name);
  if (invalid == std::string_view::npos) return {};
  return Fail("{} {}: expected UTF-8, found an invalid byte at {}", what, Quoted(name), invalid);
}

Result<int64_t> StoredBytes(DType dtype, std::span<const int64_t> dims) {
  const DTypeInfo& info = Info(dtype);
  // Zero anywhere makes the product zero, however large the others are.
  const bool empty = std::find(dims.begin(), dims.end(), 0) != dims.end();
  int64_t elements = empty ? 0 : 1;
  for (const int64_t dim : dims) {
    if (dim < 0) return Fail("expected dimensions of at least 0, found {}", dim);
    if (!empty && __builtin_mul_overflow(elements, dim, &elements)) {
      return Fail("expected fewer than 2^63 elements, found more");
    }
  }
  const int64_t innermost = dims.empty() ? 1 : dims.back();
  if (innermost % info.block_elements != 0) {
    return Fail("expected rows of whole {}-element blocks of {}, found rows of {}", info.block_elements,
                info.name, innermost);
  }
  int64_t bytes;
  if (__builtin_mul_overflow(elements / info.block_elements, static_cast<int64_t>(info.block_bytes),
                             &bytes)) {
    return Fail("expected fewer than 2^63 bytes, found more");
  }
  return bytes;
}

Status CheckNoOverlap(std::span<const StoredTensor> tensors) {
  std::vector<const StoredTensor*> order;
  order.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) {
    if (tensor.bytes > 0) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const StoredTensor* a, const StoredTensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < order.size(); ++i) {
    const int64_t shared = order[i - 1]->data + order[i - 1]->bytes - order[i]->data;
    if (shared > 0) {
      return Fail("tensor {}: expected bytes of its own, found {} shared with tensor {}",
                  Quoted(order[i]->name), std::min(shared, order[i]->bytes), Quoted(order[i - 1]->name));
    }
  }
  return {};
}

}  // namespace deepshock
