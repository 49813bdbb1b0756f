// SPDX-License-Identifier: Apache-2.0
#include "formats/gguf_types.h"

#include <array>

namespace deepshock {
namespace {

struct TensorType {
  uint32_t number;
  std::string_view name;
  std::optional<DType> dtype;  // absent: ggml's own, not read here
};

constexpr TensorType kTensorTypes[] = {
    {0, "f32", DType::kF32},    {1, "f16", DType::kF16},
    {2, "q4_0", DType::kQ4_0},  {3, "q4_1", DType::kQ4_1},
    {6, "q5_0", DType::kQ5_0},  {7, "q5_1", DType::kQ5_1},
    {8, "q8_0", DType::kQ8_0},  {9, "q8_1", {}},
    {10, "q2_k", DType::kQ2_K}, {11, "q3_k", DType::kQ3_K},
    {12, "q4_k", DType::kQ4_K}, {13, "q5_k", DType::kQ5_K},
    {14, "q6_k", DType::kQ6_K}, {15, "q8_k", {}},
    {16, "iq2_xxs", {}},        {17, "iq2_xs", {}},
    {18, "iq3_xxs", {}},        {19, "iq1_s", {}},
    {20, "iq4_nl", {}},         {21, "iq3_s", {}},
    {22, "iq2_s", {}},          {23, "iq4_xs", {}},
    {24, "i8", DType::kI8},     {25, "i16", DType::kI16},
    {26, "i32", DType::kI32},   {27, "i64", DType::kI64},
    {28, "f64", DType::kF64},   {29, "iq1_m", {}},
    {30, "bf16", DType::kBF16}, {34, "tq1_0", {}},
    {35, "tq2_0", {}},          {39, "mxfp4", DType::kMxfp4},
    {40, "nvfp4", {}},          {41, "q1_0", {}},
    {42, "q2_0", {}},
};

const TensorType* FindTensorType(uint32_t number) {
  for (const TensorType& type : kTensorTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

}  // namespace

std::optional<DType> DTypeOfGguf(uint32_t type) {
  const TensorType* found = FindTensorType(type);
  return found == nullptr ? std::nullopt : found->dtype;
}

std::optional<uint32_t> GgufOfDType(DType dtype) {
  for (const TensorType& type : kTensorTypes) {
    if (type.dtype == dtype) return type.number;
  }
  return std::nullopt;
}

std::string DescribeGgufTensorType(uint32_t type) {
  const TensorType* found = FindTensorType(type);
  return found == nullptr ? fmt::format("{} (unknown)", type) : fmt::format("{} ({})", found->name, type);
}

std::string_view GgufTypeName(GgufType type) {
  static constexpr std::array<std::string_view, kNumGgufTypes> kNames = {
      "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<size_t>(type);
  return index < kNames.size() ? kNames[index] : "unknown";
}

size_t GgufTypeBytes(GgufType type) {
  static constexpr std::array<size_t, kNumGgufTypes> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto index = static_cast<size_t>(type);
  return index < kBytes.size() ? kBytes[index] : 0;
}

}  // namespace deepshock
