// SPDX-License-Identifier: Apache-2.0
// Parses the bytes of one GGUF file; GgufFile joins the parts of a split set. Internal to this folder.
// Every count, length and offset is checked against the bytes that are there before anything is allocated for
// it.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/stored_tensor.h"

namespace deepshock {

struct GgufPart {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufType, std::less<>> types;  // of scalars as stored; kArray for arrays
  std::vector<StoredTensor> tensors;                   // in file order, pointing into `bytes`
};

Result<GgufPart> ParseGguf(std::span<const std::byte> bytes);

// Element `index` of an array of numbers or bools.
GgufScalar PackedElement(const GgufArray& array, uint64_t index);

}  // namespace deepshock
