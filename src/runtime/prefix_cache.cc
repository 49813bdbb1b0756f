// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "runtime/sampler.h"

namespace deepshock {
namespace {

// Equal tokens are compared too; this only finds them.
uint64_t HashTokens(std::span<const int32_t> tokens, bool is_end) {
  uint64_t hash = is_end ? 0x9e3779b97f4a7c15u : 0;
  for (const int32_t token : tokens)
    hash = SplitMix64::At(hash, static_cast<uint64_t>(static_cast<uint32_t>(token)));
  return hash;
}

int64_t Groups(int64_t num_tokens) { return (num_tokens + kKvGroup - 1) / kKvGroup; }

}  // namespace

PrefixCache::PrefixCache(Options options) : options_(std::move(options)) {
  DS_CHECK(options_.block_tokens > 0 && options_.block_tokens % kKvGroup == 0, "blocks are whole groups");
}

PrefixCache::~PrefixCache() {
  if (options_.budget != nullptr) options_.budget->Return(bytes_);
}

PrefixCache::Node* PrefixCache::Root(const std::string& routing_key) {
  // Ways of routing are the users' to invent.
  constexpr size_t kMaxEmptyRoots = 256;
  const auto it = roots_.find(routing_key);
  if (it != roots_.end()) return &it->second;
  if (roots_.size() >= kMaxEmptyRoots)
    std::erase_if(roots_, [](const auto& root) { return root.second.children.empty(); });
  return &roots_[routing_key];
}

void PrefixCache::Touch(Node* node) {
  for (; node->block != nullptr; node = node->parent) used_.splice(used_.begin(), used_, node->used);
}

PrefixCache::Node* PrefixCache::FindChild(Node* node, uint64_t hash, std::span<const int32_t> tokens,
                                          bool is_end) const {
  const auto [begin, end] = node->children.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const PrefixBlock& block = *it->second->block;
    if (block.is_end() == is_end && std::ranges::equal(block.tokens, tokens)) return it->second.get();
  }
  return nullptr;
}

PrefixCache::Node* PrefixCache::Child(Node* node, const std::string& routing_key,
                                      std::span<const int32_t> prefix, int64_t num_tokens, bool is_end) {
  const auto tokens = prefix.last(static_cast<size_t>(num_tokens));
  const uint64_t hash = HashTokens(tokens, is_end);
  if (Node* child = FindChild(node, hash, tokens, is_end)) return child;
  if (options_.store == nullptr) return nullptr;
  auto block = options_.store->Load(routing_key, prefix, num_tokens, is_end);
  return block == nullptr ? nullptr : Put(node, hash, std::move(block));
}

bool PrefixCache::Evict() {
  if (used_.empty()) return false;
  Node* node = used_.back();
  DS_CHECK(node->children.empty(), "what was used last among its kin has no children");
  used_.pop_back();
  ++evictions_;
  const int64_t bytes = node->block->bytes();
  bytes_ -= bytes;
  auto& siblings = node->parent->children;
  const auto [begin, end] = siblings.equal_range(node->hash);
  siblings.erase(std::find_if(begin, end, [node](const auto& entry) { return entry.second.get() == node; }));
  if (options_.budget != nullptr) options_.budget->Return(bytes);
  return true;
}

PrefixCache::Node* PrefixCache::Put(Node* parent, uint64_t hash, std::shared_ptr<const PrefixBlock> block) {
  const int64_t bytes = block->bytes();
  if (bytes > options_.max_bytes) return nullptr;
  Touch(parent);
  // The parent and those above it are used last now; when only they are left, there is no room.
  const auto evict_other = [&] {
    for (Node* node = parent; node->block != nullptr; node = node->parent) {
      if (used_.back() == node) return false;
    }
    return Evict();
  };
  while (bytes_ + bytes > options_.max_bytes) {
    if (!evict_other()) return nullptr;
  }
  while (options_.budget != nullptr && !options_.budget->Take(bytes).ok()) {
    if (!evict_other()) return nullptr;
  }
  bytes_ += bytes;
  auto node = std::make_unique<Node>();
  Node* added = node.get();
  added->parent = parent;
  added->hash = hash;
  added->block = std::move(block);
  used_.push_front(added);
  added->used = used_.begin();
  parent->children.emplace(hash, std::move(node));
  Touch(added);
  return added;
}

PrefixCache::Node* PrefixCache::Walk(const std::string& routing_key, std::span<const int32_t> tokens,
                                     int64_t length) {
  Node* node = Root(routing_key);
  for (int64_t at = 0; at < length && node != nullptr; at += options_.block_tokens) {
    const auto block = tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(options_.block_tokens));
    node = FindChild(node, HashTokens(block, false), block, false);
  }
  return node;
}

void PrefixCache::CopyOut(const PrefixBlock& block, SequenceState* state) const {
  KvCache& kv = state->kv;
  const auto count = static_cast<int64_t>(block.tokens.size());
  const size_t num_layers = kv.spec().layers.size() - static_cast<size_t>(options_.num_draft_layers);
  const std::byte* from = block.data.data();
  for (size_t layer = 0; layer < num_layers && count > 0; ++layer) {
    const auto bytes = static_cast<size_t>(Groups(count) * kv.spec().layers[layer].group_bytes());
    std::memcpy(kv.GroupAt(layer, kv.length()), from, bytes);
    from += bytes;
  }
  DS_CHECK(from == block.data.data() + block.data.size(), "a block holds the groups of its tokens");
  kv.view()->length += count;
  state->tokens.insert(state->tokens.end(), block.tokens.begin(), block.tokens.end());
}

std::span<const float> PrefixCache::Restore(std::span<const int32_t> prompt, bool with_end,
                                            SequenceState* state) {
  const int64_t size = static_cast<int64_t>(prompt.size()), block = options_.block_tokens;
  const int64_t begin = state->kv.length();
  DS_CHECK(begin % block == 0 && begin < size, "a state that ends at a block's border");
  const std::string& key = state->routing_key;
  Node* node = begin == 0 ? Root(key) : Walk(key, prompt, begin);
  std::vector<Node*> found;
  // What was found must not go while more of it is read from the store: Put touches all above a new one.
  for (int64_t at = begin; node != nullptr && at + block <= size; at += block) {
    node = Child(node, key, prompt.first(static_cast<size_t>(at + block)), block, false);
    if (node != nullptr) found.push_back(node);
  }
  const bool all = begin + static_cast<int64_t>(found.size()) * block + block > size;
  Node* end = with_end && all && node != nullptr ? Child(node, key, prompt, size % block, true) : nullptr;
  if (end != nullptr) {
    found.push_back(end);
  } else if (all && size % block == 0 && !found.empty()) {
    found.pop_back();  // its last token's logits are wanted
  }
  if (found.empty() || !state->kv.Reserve(size).ok()) return {};
  Touch(found.back());
  for (const Node* each : found) CopyOut(*each->block, state);
  // The layer has not seen what lies between.
  state->mtp = {};
  return end == nullptr ? std::span<const float>() : end->block->logits;
}

void PrefixCache::Keep(Node* parent, int64_t begin, int64_t end, std::span<const float> logits,
                       SequenceState& state) {
  const auto tokens = std::span<const int32_t>(state.tokens)
                          .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  const bool is_end = !logits.empty();
  const uint64_t hash = HashTokens(tokens, is_end);
  if (Node* known = FindChild(parent, hash, tokens, is_end)) return Touch(known);
  auto block = std::make_shared<PrefixBlock>();
  block->tokens.assign(tokens.begin(), tokens.end());
  block->logits.assign(logits.begin(), logits.end());
  const size_t num_layers = state.kv.spec().layers.size() - static_cast<size_t>(options_.num_draft_layers);
  for (size_t layer = 0; layer < num_layers && begin < end; ++layer) {
    const std::byte* from = state.kv.GroupAt(layer, begin);
    block->data.insert(block->data.end(), from,
                       from + Groups(end - begin) * state.kv.spec().layers[layer].group_bytes());
  }
  Put(parent, hash, block);
  if (options_.store != nullptr) {
    options_.store->Save(state.routing_key,
                         std::span<const int32_t>(state.tokens).first(static_cast<size_t>(end)),
                         std::move(block));
  }
}

void PrefixCache::AddBlock(int64_t end, SequenceState& state) {
  const int64_t begin = end - options_.block_tokens;
  DS_CHECK(begin >= 0 && begin % options_.block_tokens == 0, "a whole block");
  if (Node* parent = Walk(state.routing_key, state.tokens, begin)) Keep(parent, begin, end, {}, state);
}

void PrefixCache::AddEnd(std::span<const float> logits, SequenceState& state) {
  const int64_t end = state.kv.length(), begin = end / options_.block_tokens * options_.block_tokens;
  if (Node* parent = Walk(state.routing_key, state.tokens, begin)) Keep(parent, begin, end, logits, state);
}

void PrefixCache::AddStats(EngineStats::PrefixCache* stats) const {
  stats->bytes = bytes_;
  stats->blocks = static_cast<int64_t>(used_.size());
  stats->evictions = evictions_;
  if (options_.store != nullptr) options_.store->AddStats(stats);
}

}  // namespace deepshock
