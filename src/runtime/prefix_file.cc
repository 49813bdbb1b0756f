// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_file.h"

#include <bit>
#include <cstring>

namespace deepshock {
namespace {

static_assert(std::endian::native == std::endian::little, "files are written as memory has them");

constexpr char kMagic[] = "DSPREFIX";
constexpr uint32_t kVersion = 1;

template <typename T>
T At(std::span<const std::byte> file, size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

// Writes one value or array after the other into memory that has room for them.
class Writer {
 public:
  explicit Writer(std::byte* to) : to_(to) {}
  template <typename T>
  void Put(const T* values, size_t count) {
    if (count > 0) std::memcpy(to_, values, count * sizeof(T));
    to_ += count * sizeof(T);
  }

 private:
  std::byte* to_;
};

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
  return z ^ (z >> 32);
}

}  // namespace

// Four sums side by side, each of every fourth word; a word is mixed in so that each of its bits moves the
// sum.
uint64_t HashBytes(std::span<const std::byte> bytes, uint64_t seed) {
  uint64_t lanes[4] = {seed + 1, seed + 2, seed + 3, seed + 4};
  size_t at = 0;
  for (size_t lane = 0; at + 8 <= bytes.size(); at += 8, lane = (lane + 1) % 4)
    lanes[lane] = std::rotl((lanes[lane] ^ At<uint64_t>(bytes, at)) * 0x9e3779b97f4a7c15u, 29);
  uint64_t rest = 0;
  if (at < bytes.size()) std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
  uint64_t hash = Mix(rest ^ bytes.size());
  for (const uint64_t lane : lanes) hash = Mix(hash + lane);
  return hash;
}

uint64_t PrefixFileChecksum(std::span<const std::byte> file) {
  const uint64_t head = HashBytes(file.first(kPrefixFileChecksumAt), 0);
  return HashBytes(file.subspan(kPrefixFileHeader), head);
}

std::vector<std::byte> WritePrefixFile(const PrefixFileKey& key, const PrefixBlock& block) {
  std::vector<std::byte> file(kPrefixFileHeader + key.routing_key.size() + key.prefix.size_bytes() +
                              block.data.size() + block.logits.size() * sizeof(float));
  const uint32_t num_tokens = static_cast<uint32_t>(key.num_tokens);
  const uint64_t sizes[] = {key.identity, key.prefix.size(), block.data.size()};
  const uint32_t counts[] = {static_cast<uint32_t>(block.logits.size()),
                             static_cast<uint32_t>(key.routing_key.size())};
  const uint64_t no_checksum = 0;
  Writer writer(file.data());
  writer.Put(kMagic, 8);
  writer.Put(&kVersion, 1);
  writer.Put(&num_tokens, 1);
  writer.Put(sizes, 3);
  writer.Put(counts, 2);
  writer.Put(&no_checksum, 1);
  writer.Put(key.routing_key.data(), key.routing_key.size());
  writer.Put(key.prefix.data(), key.prefix.size());
  writer.Put(block.data.data(), block.data.size());
  writer.Put(block.logits.data(), block.logits.size());
  const uint64_t checksum = PrefixFileChecksum(file);
  std::memcpy(file.data() + kPrefixFileChecksumAt, &checksum, sizeof(checksum));
  return file;
}

Result<PrefixBlock> ParsePrefixFile(std::span<const std::byte> file, const PrefixFileKey& key) {
  if (file.size() < kPrefixFileHeader || std::memcmp(file.data(), kMagic, 8) != 0)
    return Fail("expected a block of a prefix cache, found {} other bytes", file.size());
  const auto expect = [](const char* what, uint64_t wanted, uint64_t found) {
    return wanted == found ? Status() : Fail("{}: expected {}, found {}", what, wanted, found);
  };
  const bool is_end = key.is_end;
  DS_RETURN_IF_ERROR(expect("version", kVersion, At<uint32_t>(file, 8)));
  DS_RETURN_IF_ERROR(expect("tokens", static_cast<uint64_t>(key.num_tokens), At<uint32_t>(file, 12)));
  DS_RETURN_IF_ERROR(expect("identity", key.identity, At<uint64_t>(file, 16)));
  DS_RETURN_IF_ERROR(expect("prefix", key.prefix.size(), At<uint64_t>(file, 24)));
  DS_RETURN_IF_ERROR(expect("state", static_cast<uint64_t>(key.data_bytes), At<uint64_t>(file, 32)));
  DS_RETURN_IF_ERROR(
      expect("logits", static_cast<uint64_t>(is_end ? key.num_logits : 0), At<uint32_t>(file, 40)));
  DS_RETURN_IF_ERROR(expect("routing", key.routing_key.size(), At<uint32_t>(file, 44)));
  // All of these are what was looked for, so their sum is of a file that might be.
  const size_t logits_bytes = is_end ? static_cast<size_t>(key.num_logits) * sizeof(float) : 0;
  const size_t data_at = kPrefixFileHeader + key.routing_key.size() + key.prefix.size_bytes();
  const size_t logits_at = data_at + static_cast<size_t>(key.data_bytes);
  DS_RETURN_IF_ERROR(expect("bytes", logits_at + logits_bytes, file.size()));
  DS_RETURN_IF_ERROR(expect("checksum", PrefixFileChecksum(file), At<uint64_t>(file, kPrefixFileChecksumAt)));
  const std::byte* at = file.data() + kPrefixFileHeader;
  if (std::memcmp(at, key.routing_key.data(), key.routing_key.size()) != 0 ||
      std::memcmp(at + key.routing_key.size(), key.prefix.data(), key.prefix.size_bytes()) != 0) {
    return Fail("expected the prompt that was looked for, found another");
  }
  PrefixBlock block;
  const auto own = key.prefix.last(static_cast<size_t>(key.num_tokens));
  block.tokens.assign(own.begin(), own.end());
  block.data.assign(file.begin() + static_cast<std::ptrdiff_t>(data_at),
                    file.begin() + static_cast<std::ptrdiff_t>(logits_at));
  block.logits.resize(logits_bytes / sizeof(float));
  if (logits_bytes > 0) std::memcpy(block.logits.data(), file.data() + logits_at, logits_bytes);
  return block;
}

}  // namespace deepshock
