// SPDX-License-Identifier: Apache-2.0
// The file that holds one block of a prefix cache. Little-endian:
//   0  "DSPREFIX"    8 bytes
//   8  version       u32, 1
//  12  num_tokens    u32 of the block alone
//  16  identity      u64 of what computed it: another model, type of state or machine is another
//  24  num_prefix    u64 tokens from the prompt's beginning to the block's end
//  32  data_bytes    u64
//  40  num_logits    u32, 0: a whole block
//  44  key_bytes     u32
//  48  checksum      u64 of all other bytes
//  56  key, then num_prefix int32 tokens, data, num_logits float32
// A name is a hash only, so key and tokens are compared with what is looked for. Every byte may be hostile.
// Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/prefix_cache.h"

namespace deepshock {

// What a file must hold to be of use.
struct PrefixFileKey {
  uint64_t identity = 0;
  std::string_view routing_key;
  std::span<const int32_t> prefix;
  int64_t num_tokens = 0;  // of the block, the last ones of the prefix
  bool is_end = false;
  int64_t data_bytes = 0;
  int64_t num_logits = 0;  // of a block that is an end
};

inline constexpr size_t kPrefixFileHeader = 56, kPrefixFileChecksumAt = 48;

// Of all bytes but its own.
uint64_t PrefixFileChecksum(std::span<const std::byte> file);
// Of any bytes; for names and identities, not against forgery.
uint64_t HashBytes(std::span<const std::byte> bytes, uint64_t seed);

std::vector<std::byte> WritePrefixFile(const PrefixFileKey& key, const PrefixBlock& block);
// Fails on damage, and where the file is not what `key` looks for.
Result<PrefixBlock> ParsePrefixFile(std::span<const std::byte> file, const PrefixFileKey& key);

}  // namespace deepshock
