// SPDX-License-Identifier: Apache-2.0
// Parses the bytes of one safetensors file; SafetensorsFile joins shards. Internal to this folder.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/stored_tensor.h"

namespace deepshock {

// The header's one key that is no tensor.
constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct ParsedSafetensors {
  std::vector<StoredTensor> tensors;  // by name, pointing into the bytes
  std::map<std::string, std::string> metadata;
};

Result<ParsedSafetensors> ParseSafetensors(std::span<const std::byte> bytes);

// "BF16"; nothing for types that safetensors has not.
std::optional<std::string_view> SafetensorsTypeName(DType dtype);

}  // namespace deepshock
