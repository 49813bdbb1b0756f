// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding: a vocabulary, a table of merges, and the merging of one word into tokens.
// All immutable once built; EncodeWord may be called from many threads, each with its own BpeScratch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

// The bytes of GPT-2's byte-level alphabet: every byte is written as one printable character ("Ġ" is a
// space). Source: bytes_to_unicode in openai/gpt-2, src/encoder.py.
uint32_t ByteToCodePoint(uint8_t byte);
// -1 when no byte is written so.
int CodePointToByte(uint32_t code_point);
void AppendByteLevel(std::string_view bytes, std::string* out);
// Undoes AppendByteLevel and returns true; returns false, with nothing appended, when a character is not in
// the alphabet.
bool AppendFromByteLevel(std::string_view text, std::string* bytes);

// Texts with ids, both ways. Ids may have gaps.
class Vocabulary {
 public:
  // Room for what is coming; saves growing step by step.
  void Reserve(size_t num_tokens, size_t text_bytes);
  // A text or an id that is there already keeps its first partner for Find and Text; returns false then.
  bool Add(std::string_view text, int32_t id);
  // Checked by callers before Add: ids index a table.
  static bool IsValidId(int64_t id) { return id >= 0 && id < kMaxId; }

  int32_t Find(std::string_view text) const;  // -1 when absent
  bool Contains(int32_t id) const;
  std::string_view Text(int32_t id) const;  // empty when absent; valid while nothing is added
  int64_t size() const { return static_cast<int64_t>(spans_.size()); }  // highest id + 1
  int64_t num_texts() const { return num_texts_; }

 private:
  static constexpr int64_t kMaxId = int64_t{1} << 24;  // sixty times the largest published vocabulary
  struct Span {
    uint64_t offset = 0;
    uint32_t length = 0;
    bool present = false;
  };
  void Rehash(size_t num_slots);

  std::string arena_;
  std::vector<Span> spans_;      // by id
  std::vector<uint64_t> slots_;  // open addressing: high half hash, low half id + 1; 0 is empty
  int64_t num_texts_ = 0;
};

// (left id, right id) -> (rank, merged id).
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // lower merges first; -1: no such merge
    int32_t id = -1;
  };
  void Reserve(size_t num_merges);
  void Set(int32_t left, int32_t right, Merge merge);  // the last one counts
  Merge Find(int32_t left, int32_t right) const;
  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t FindSlot(uint64_t key) const;
  void Rehash(size_t num_slots);

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

struct BpeOptions {
  bool byte_level = false;     // words are bytes, spelled in the byte-level alphabet in the vocabulary
  bool byte_fallback = false;  // an unknown character becomes the tokens <0x..> of its bytes
  bool fuse_unknown = false;   // neighbouring unknown characters become one unknown token
  bool ignore_merges = false;  // a word that is in the vocabulary is that token
  int32_t unknown = -1;        // -1: unknown characters are dropped, as Hugging Face tokenizers does
};

// Buffers of one thread's merging, kept between words.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none
    bool alive;
  };
  struct Candidate {
    int32_t rank, position, id;
  };
  std::vector<int32_t> ids;
  std::vector<MergeTable::Merge> merges;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string text;
};

class Bpe {
 public:
  // Adds merge number `rank` ("left" and "right" must be in the vocabulary, and so must their concatenation).
  Status AddMerge(std::string_view left, std::string_view right, int32_t rank);
  // Merges by score, as SentencePiece does: every way to make a token out of two others, best score first.
  // `mergeable` and `scores` are by id.
  Status AddMergesByScore(const std::vector<float>& scores, const std::vector<bool>& mergeable);
  // Call once, when vocabulary and merges are complete.
  void Finish(const BpeOptions& options);

  // Appends the tokens of one word (a pre-token). Takes O(n log n) for n characters.
  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* ids) const;

  Vocabulary& vocabulary() { return vocabulary_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  MergeTable& merges() { return merges_; }
  const BpeOptions& options() const { return options_; }

 private:
  void FirstSymbols(std::string_view word, BpeScratch& scratch) const;
  void MergeShort(BpeScratch& scratch, std::vector<int32_t>* ids) const;
  void MergeLong(BpeScratch& scratch, std::vector<int32_t>* ids) const;
  void Consider(BpeScratch& scratch, int32_t position) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_{};      // byte-level: the token of one byte; else of one ASCII character
  std::array<int32_t, 256> fallback_ids_{};  // <0x00> ... <0xFF>
  bool has_all_fallback_ids_ = false;
  std::string joined_;  // AddMerge's buffer
};

}  // namespace deepshock
