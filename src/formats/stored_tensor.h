// SPDX-License-Identifier: Apache-2.0
// A tensor as a file stores it: what the readers of safetensors and GGUF have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

}  // namespace deepshock
