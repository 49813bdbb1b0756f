// SPDX-License-Identifier: Apache-2.0
// GGUF reader: whatever the bytes, a Result; what it accepts is inside the file.
#include <cstddef>
#include <cstdint>

#include "formats/gguf.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  static MemoryFile input;
  input.Set(data, size);
  const auto file = GgufFile::Open(input.path());
  if (!file.ok()) {
    DS_CHECK(file.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  for (const auto& [key, value] : (*file)->metadata()) {
    (void)(*file)->GetInt(key);
    (void)(*file)->GetFloat(key);
    (void)(*file)->GetBool(key);
    (void)(*file)->GetString(key);
    (void)(*file)->GetInts(key);
    (void)(*file)->GetFloats(key);
    if (const auto strings = (*file)->GetStrings(key); strings.ok()) {
      for (const std::string_view text : *strings) ReadAll(text.data(), text.size());
    }
  }
  for (const StoredTensor& tensor : (*file)->tensors())
    ReadAll(tensor.data, static_cast<size_t>(tensor.bytes));
  return 0;
}
