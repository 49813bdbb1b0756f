// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <array>

#include "base/check.h"

namespace deepshock {
namespace {

constexpr int kNumDTypes = static_cast<int>(DType::kBool) + 1;

// In the order of DType.
constexpr std::array<DTypeInfo, kNumDTypes> kInfos = {{
    {"f32", 1, 4, true},      {"f16", 1, 2, true},      {"bf16", 1, 2, true},
    {"f8_e4m3", 1, 1, true},  {"mxfp4", 32, 17, true},  {"mxfp4_split", 32, 16, true},
    {"q4_0", 32, 18, true},   {"q4_1", 32, 20, true},   {"q5_0", 32, 22, true},
    {"q5_1", 32, 24, true},   {"q8_0", 32, 34, true},   {"q2_k", 256, 84, true},
    {"q3_k", 256, 110, true}, {"q4_k", 256, 144, true}, {"q5_k", 256, 176, true},
    {"q6_k", 256, 210, true}, {"f64", 1, 8, false},     {"i64", 1, 8, false},
    {"i32", 1, 4, false},     {"i16", 1, 2, false},     {"i8", 1, 1, false},
    {"u8", 1, 1, false},      {"bool", 1, 1, false},
}};

// ASCII only: type names have nothing else, and the C locale must not matter.
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (ToLower(a[i]) != ToLower(b[i])) return false;
  }
  return true;
}

}  // namespace

const DTypeInfo& Info(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  DS_CHECK(index < kInfos.size(), "not a DType");
  return kInfos[index];
}

int64_t RowBytes(DType dtype, int64_t elements) {
  const DTypeInfo& info = Info(dtype);
  DS_CHECK(elements >= 0 && elements % info.block_elements == 0, "a row must be whole blocks");
  return elements / info.block_elements * info.block_bytes;
}

std::optional<DType> ParseDType(std::string_view name) {
  for (size_t i = 0; i < kInfos.size(); ++i) {
    if (EqualIgnoringCase(name, kInfos[i].name)) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace deepshock
