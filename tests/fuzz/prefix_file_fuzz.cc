// SPDX-License-Identifier: Apache-2.0
// Any bytes as a file of the prefix cache: an error of one line, or the block that was looked for. Its
// checksum is put right first, so that what it guards is reached.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "runtime/prefix_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> file(bytes, bytes + size);
  const std::vector<int32_t> prefix = {1, 2, 3, 4};
  for (const bool patched : {false, true}) {
    if (patched && size >= kPrefixFileHeader) {
      const uint64_t checksum = PrefixFileChecksum(file);
      std::memcpy(file.data() + kPrefixFileChecksumAt, &checksum, sizeof(checksum));
    }
    for (const bool is_end : {false, true}) {
      const PrefixFileKey key{7, "route", prefix, 2, is_end, 16, 3};
      const auto block = ParsePrefixFile(file, key);
      if (!block.ok()) {
        DS_CHECK(block.message().find('\n') == std::string::npos, "an error is one line");
        continue;
      }
      DS_CHECK(block->tokens == std::vector<int32_t>({3, 4}) && block->data.size() == 16,
               "what was looked for");
      DS_CHECK(block->is_end() == is_end, "of the kind that was looked for");
      DS_CHECK(WritePrefixFile(key, *block) == file, "written as it was read");
    }
  }
  return 0;
}
