// SPDX-License-Identifier: Apache-2.0
// A tensor as a file stores it, and the checks that the readers of safetensors and GGUF have in common.
// Plain data and pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace deepshock {

// A tensor's place in a file: dims outermost first (GGUF files store them innermost first).
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;
  const std::byte* data = nullptr;
  int64_t bytes = 0;
};

// `name` in quotes, fit for one line of a message: control characters and invalid UTF-8 are escaped, and what
// is longer than a line is cut.
std::string Quoted(std::string_view name);

// Fails unless `name` is what a key or tensor may be called: 1 to 65535 bytes of UTF-8.
Status CheckName(std::string_view what, std::string_view name);

// Stored bytes of a tensor. Fails when they do not fit in an int64 or the innermost dimension is not whole
// blocks.
Result<int64_t> StoredBytes(DType dtype, std::span<const int64_t> dims);

// Fails when two tensors share a byte; names both. `tensors` point into one file.
Status CheckNoOverlap(std::span<const StoredTensor> tensors);

}  // namespace deepshock
