// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <algorithm>
#include <numeric>

#include "base/utf8.h"

namespace deepshock {
namespace {

// Up to this many symbols, looking through all pairs for the best one beats keeping a heap.
constexpr size_t kMaxShortWord = 32;
// Positions are 32-bit. A longer "word" is cut, between characters.
constexpr size_t kMaxWordBytes = size_t{1} << 30;
// SentencePiece's tokens are at most a few dozen bytes; all ways to split a token are tried.
constexpr size_t kMaxScoredTokenBytes = 256;

// The heap's order: lowest rank on top, leftmost first among equals.
struct Later {
  bool operator()(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  }
};

}  // namespace

Status Bpe::AddMerge(std::string_view left, std::string_view right, int32_t rank) {
  joined_.assign(left);
  joined_ += right;
  const int32_t left_id = vocabulary_.Find(left);
  const int32_t right_id = vocabulary_.Find(right);
  const int32_t merged = vocabulary_.Find(joined_);
  if (left_id < 0 || right_id < 0 || merged < 0) {
    return Fail("merge {} (\"{}\" and \"{}\"): expected tokens of the vocabulary, found none for \"{}\"",
                rank, left, right,
                left_id < 0    ? left
                : right_id < 0 ? right
                               : std::string_view(joined_));
  }
  merges_.Set(left_id, right_id, {rank, merged});
  return {};
}

Status Bpe::AddMergesByScore(const std::vector<float>& scores, const std::vector<bool>& mergeable) {
  std::vector<int32_t> order;  // ids, best score first
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!mergeable[static_cast<size_t>(id)]) continue;
    const size_t length = vocabulary_.Text(id).size();
    if (length > kMaxScoredTokenBytes) {
      return Fail("token {}: expected at most {} bytes, found {}", id, kMaxScoredTokenBytes, length);
    }
    order.push_back(id);
  }
  const auto score = [&](int32_t id) { return scores[static_cast<size_t>(id)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
  merges_.Reserve(order.size() * 3);
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && score(order[i]) != score(order[i - 1]))
      ++rank;  // equal scores: the leftmost pair goes first
    const std::string_view text = vocabulary_.Text(order[i]);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<uint8_t>(text[cut]) & 0xc0) == 0x80) continue;
      const int32_t left = vocabulary_.Find(text.substr(0, cut));
      const int32_t right = vocabulary_.Find(text.substr(cut));
      if (left < 0 || right < 0) continue;
      if (!mergeable[static_cast<size_t>(left)] || !mergeable[static_cast<size_t>(right)]) continue;
      merges_.Set(left, right, {rank, order[i]});
    }
  }
  return {};
}

void Bpe::Finish(const BpeOptions& options) {
  options_ = options;
  joined_ = std::string();
  has_all_fallback_ids_ = true;
  for (int b = 0; b < 256; ++b) {
    const auto index = static_cast<size_t>(b);
    std::string text;
    if (options.byte_level) {
      AppendUtf8(ByteToCodePoint(static_cast<uint8_t>(b)), &text);
    } else if (b < 0x80) {
      text.push_back(static_cast<char>(b));
    }
    byte_ids_[index] = text.empty() ? -1 : vocabulary_.Find(text);
    fallback_ids_[index] = vocabulary_.Find(fmt::format("<0x{:02X}>", b));
  }
}

// Fills scratch.ids with the tokens of the word's characters, as BPE::merge_word of Hugging Face tokenizers
// does.
void Bpe::FirstSymbols(std::string_view word, BpeScratch& scratch) const {
  std::vector<int32_t>& ids = scratch.ids;
  ids.clear();
  bool unknown_pending = false;
  const auto flush_unknown = [&] {
    if (unknown_pending) ids.push_back(options_.unknown);
    unknown_pending = false;
  };
  for (size_t i = 0; i < word.size();) {
    const auto byte = static_cast<uint8_t>(word[i]);
    size_t length = 1;
    int32_t id = byte_ids_[byte];
    if (!options_.byte_level && byte >= 0x80) {
      length = static_cast<size_t>(DecodeUtf8(word.substr(i)).length);
      id = vocabulary_.Find(word.substr(i, length));
    }
    std::string_view character = word.substr(i, length);
    i += length;
    if (id >= 0) {
      flush_unknown();
      ids.push_back(id);
      continue;
    }
    if (options_.byte_fallback) {
      std::string spelled;  // what the vocabulary would call the character
      if (options_.byte_level) {
        AppendByteLevel(character, &spelled);
        character = spelled;
      }
      const bool all = std::all_of(character.begin(), character.end(),
                                   [&](char c) { return fallback_ids_[static_cast<uint8_t>(c)] >= 0; });
      if (all) {
        for (const char c : character) ids.push_back(fallback_ids_[static_cast<uint8_t>(c)]);
        continue;
      }
    }
    if (options_.unknown < 0) continue;
    if (!options_.fuse_unknown) flush_unknown();
    unknown_pending = true;
  }
  flush_unknown();
}

void Bpe::MergeShort(BpeScratch& scratch, std::vector<int32_t>* out) const {
  std::vector<int32_t>& ids = scratch.ids;
  std::vector<MergeTable::Merge>& merges = scratch.merges;  // of ids[i] and ids[i + 1]
  merges.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) merges.push_back(merges_.Find(ids[i], ids[i + 1]));
  while (true) {
    size_t best = merges.size();
    for (size_t i = 0; i < merges.size(); ++i) {
      if (merges[i].rank >= 0 && (best == merges.size() || merges[i].rank < merges[best].rank)) best = i;
    }
    if (best == merges.size()) break;
    ids[best] = merges[best].id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    merges.erase(merges.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = merges_.Find(ids[best - 1], ids[best]);
    if (best < merges.size()) merges[best] = merges_.Find(ids[best], ids[best + 1]);
  }
  out->insert(out->end(), ids.begin(), ids.end());
}

// Puts the merge of the symbol at `position` with its successor, if there is one, into the heap.
void Bpe::Consider(BpeScratch& scratch, int32_t position) const {
  const BpeScratch::Symbol& left = scratch.symbols[static_cast<size_t>(position)];
  if (left.next < 0) return;
  const MergeTable::Merge merge = merges_.Find(left.id, scratch.symbols[static_cast<size_t>(left.next)].id);
  if (merge.rank < 0) return;
  scratch.heap.push_back({merge.rank, position, merge.id});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), Later());
}

void Bpe::MergeLong(BpeScratch& scratch, std::vector<int32_t>* out) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<int32_t>(scratch.ids.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols.push_back({scratch.ids[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1, true});
  }
  for (int32_t i = 0; i < count; ++i) Consider(scratch, i);
  while (!heap.empty()) {
    const BpeScratch::Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), Later());
    heap.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(top.position)];
    if (!left.alive || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    // A candidate is out of date when one of the two has been merged meanwhile.
    const MergeTable::Merge merge = merges_.Find(left.id, right.id);
    if (merge.rank < 0 || merge.id != top.id) continue;
    left.id = top.id;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.position;
    if (left.previous >= 0) Consider(scratch, left.previous);
    Consider(scratch, top.position);
  }
  for (int32_t i = 0; i < count; ++i) {
    if (symbols[static_cast<size_t>(i)].alive) out->push_back(symbols[static_cast<size_t>(i)].id);
  }
}

void Bpe::EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* ids) const {
  while (word.size() > kMaxWordBytes) {
    size_t cut = kMaxWordBytes;
    while (cut > 0 && (static_cast<uint8_t>(word[cut]) & 0xc0) == 0x80) --cut;
    EncodeWord(word.substr(0, cut), scratch, ids);
    word.remove_prefix(cut);
  }
  if (options_.ignore_merges) {
    std::string_view text = word;
    if (options_.byte_level) {
      scratch.text.clear();
      AppendByteLevel(word, &scratch.text);
      text = scratch.text;
    }
    const int32_t id = vocabulary_.Find(text);
    if (id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  FirstSymbols(word, scratch);
  if (scratch.ids.size() <= kMaxShortWord) {
    MergeShort(scratch, ids);
  } else {
    MergeLong(scratch, ids);
  }
}

}  // namespace deepshock
