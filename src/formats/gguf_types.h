// SPDX-License-Identifier: Apache-2.0
// GGUF's numbers for element types and for the kinds of metadata values. Constants and pure functions.
// Source: enum ggml_type and enum gguf_type of https://github.com/ggml-org/ggml.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "tensor/dtype.h"

namespace deepshock {

constexpr uint32_t kGgufDefaultAlignment = 32;
constexpr uint32_t kGgufMaxDims = 4;

std::optional<DType> DTypeOfGguf(uint32_t type);
std::optional<uint32_t> GgufOfDType(DType dtype);
// "iq2_xxs (16)" for a type that ggml has and this engine does not read, "77 (unknown)" for any other.
std::string DescribeGgufTensorType(uint32_t type);

constexpr uint32_t kNumGgufTypes = 13;
std::string_view GgufTypeName(GgufType type);  // "u8" ... "array"
// Stored bytes of one number or bool; 0 for strings and arrays.
size_t GgufTypeBytes(GgufType type);

}  // namespace deepshock
