// SPDX-License-Identifier: Apache-2.0
// safetensors reader: whatever the bytes, a Result; what it accepts is inside the file.
#include <cstddef>
#include <cstdint>

#include "formats/safetensors.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  static MemoryFile input;
  input.Set(data, size);
  const auto file = SafetensorsFile::Open(input.path());
  if (!file.ok()) {
    DS_CHECK(file.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  for (const StoredTensor& tensor : (*file)->tensors()) {
    DS_CHECK((*file)->Find(tensor.name) == &tensor, "a tensor is found by its name");
    ReadAll(tensor.data, static_cast<size_t>(tensor.bytes));
  }
  return 0;
}
