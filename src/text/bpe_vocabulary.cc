// SPDX-License-Identifier: Apache-2.0
// The tables of bpe.h: byte-level alphabet, vocabulary, merges.
#include <algorithm>
#include <cstring>
#include <random>

#include "base/utf8.h"
#include "text/bpe.h"

namespace deepshock {
namespace {

constexpr uint32_t kAlphabetEnd = 0x144;  // highest code point of the alphabet is U+0143

struct ByteAlphabet {
  std::array<uint16_t, 256> code_point{};
  std::array<int16_t, kAlphabetEnd> byte{};
  constexpr ByteAlphabet() {
    for (auto& b : byte) b = -1;
    uint16_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      const uint16_t c = printable ? static_cast<uint16_t>(b) : next++;
      code_point[static_cast<size_t>(b)] = c;
      byte[c] = static_cast<int16_t>(b);
    }
  }
};
constexpr ByteAlphabet kAlphabet;

// Random, so that no file can be made whose strings all fall into one slot. Where things lie in the tables
// changes from run to run; what is found does not.
uint64_t HashSeed() {
  static const uint64_t seed = (uint64_t{std::random_device{}()} << 32 | std::random_device{}()) | 1;
  return seed;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  // Murmur3's finaliser over both words (public domain constants).
  uint64_t h = a ^ (b * 0x9e3779b97f4a7c15ull);
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ull;
  return h ^ (h >> 33);
}

uint64_t HashBytes(std::string_view text) {
  uint64_t h = HashSeed() + text.size();
  const char* p = text.data();
  size_t left = text.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = Mix(h, word);
  }
  uint64_t rest = 0;
  if (left > 0) std::memcpy(&rest, p, left);
  return Mix(h, rest);
}

size_t SlotsFor(size_t count) {
  size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  return slots;
}

}  // namespace

uint32_t ByteToCodePoint(uint8_t byte) { return kAlphabet.code_point[byte]; }

int CodePointToByte(uint32_t code_point) {
  return code_point < kAlphabetEnd ? kAlphabet.byte[code_point] : -1;
}

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char c : bytes) AppendUtf8(ByteToCodePoint(static_cast<uint8_t>(c)), out);
}

bool AppendFromByteLevel(std::string_view text, std::string* bytes) {
  const size_t before = bytes->size();
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const int byte = c.valid ? CodePointToByte(c.code_point) : -1;
    if (byte < 0) {
      bytes->resize(before);
      return false;
    }
    bytes->push_back(static_cast<char>(byte));
    i += static_cast<size_t>(c.length);
  }
  return true;
}

void Vocabulary::Reserve(size_t num_tokens, size_t text_bytes) {
  arena_.reserve(text_bytes);
  spans_.reserve(num_tokens);
  if (SlotsFor(num_tokens) > slots_.size()) Rehash(SlotsFor(num_tokens));
}

void Vocabulary::Rehash(size_t num_slots) {
  std::vector<uint64_t> old = std::move(slots_);
  slots_.assign(num_slots, 0);
  const size_t mask = num_slots - 1;
  for (const uint64_t entry : old) {
    if (entry == 0) continue;
    // The stored half of the hash is enough for tables below 2^32 slots.
    size_t at = static_cast<size_t>(entry >> 32) & mask;
    while (slots_[at] != 0) at = (at + 1) & mask;
    slots_[at] = entry;
  }
}

bool Vocabulary::Add(std::string_view text, int32_t id) {
  DS_CHECK(IsValidId(id), "callers check ids");
  const auto index = static_cast<size_t>(id);
  if (index >= spans_.size()) spans_.resize(index + 1);
  bool fresh = !spans_[index].present;
  if (fresh) {
    spans_[index] = {arena_.size(), static_cast<uint32_t>(text.size()), true};
    arena_ += text;
  }
  if (static_cast<size_t>(num_texts_ + 1) * 2 > slots_.size())
    Rehash(SlotsFor(static_cast<size_t>(num_texts_) * 2 + 1));
  const uint64_t tag = HashBytes(text) >> 32;
  const size_t mask = slots_.size() - 1;
  size_t at = static_cast<size_t>(tag) & mask;
  for (; slots_[at] != 0; at = (at + 1) & mask) {
    if (slots_[at] >> 32 == tag && Text(static_cast<int32_t>(slots_[at] & 0xffffffff) - 1) == text)
      return false;
  }
  if (!fresh) return false;
  slots_[at] = tag << 32 | static_cast<uint64_t>(id + 1);
  ++num_texts_;
  return true;
}

int32_t Vocabulary::Find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const uint64_t tag = HashBytes(text) >> 32;
  const size_t mask = slots_.size() - 1;
  for (size_t at = static_cast<size_t>(tag) & mask; slots_[at] != 0; at = (at + 1) & mask) {
    if (slots_[at] >> 32 != tag) continue;
    const int32_t id = static_cast<int32_t>(slots_[at] & 0xffffffff) - 1;
    if (Text(id) == text) return id;
  }
  return -1;
}

bool Vocabulary::Contains(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < spans_.size() && spans_[static_cast<size_t>(id)].present;
}

std::string_view Vocabulary::Text(int32_t id) const {
  if (!Contains(id)) return {};
  const Span& span = spans_[static_cast<size_t>(id)];
  return std::string_view(arena_).substr(span.offset, span.length);
}

void MergeTable::Reserve(size_t num_merges) {
  if (SlotsFor(num_merges) > slots_.size()) Rehash(SlotsFor(num_merges));
}

size_t MergeTable::FindSlot(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = static_cast<size_t>(Mix(HashSeed(), key)) & mask;
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask;
  return at;
}

void MergeTable::Rehash(size_t num_slots) {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(num_slots, Slot{});
  for (const Slot& slot : old) {
    if (slot.key != kEmpty) slots_[FindSlot(slot.key)] = slot;
  }
}

void MergeTable::Set(int32_t left, int32_t right, Merge merge) {
  if ((size_ + 1) * 2 > slots_.size()) Rehash(SlotsFor(size_ * 2 + 1));
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  Slot& slot = slots_[FindSlot(key)];
  if (slot.key == kEmpty) ++size_;
  slot = {key, merge};
}

MergeTable::Merge MergeTable::Find(int32_t left, int32_t right) const {
  if (slots_.empty()) return {};
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  return slots_[FindSlot(key)].merge;
}

}  // namespace deepshock
