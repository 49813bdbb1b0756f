// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"

namespace deepshock {
namespace {
constexpr int64_t kFirstCapacity = 128;  // tokens
}

KvCache::KvCache(StateSpec spec, int64_t max_tokens) : spec_(std::move(spec)), max_tokens_(max_tokens) {
  layers_.resize(spec_.floats_per_token.size());
  view_.layers.assign(spec_.floats_per_token.size(), nullptr);
}

Status KvCache::Reserve(int64_t num_tokens) {
  if (num_tokens <= view_.capacity) return {};
  if (num_tokens > max_tokens_) {
    return Fail("state: expected at most {} tokens, the context length, found {}", max_tokens_, num_tokens);
  }
  int64_t capacity = std::max(view_.capacity, kFirstCapacity);
  while (capacity < num_tokens) capacity *= 2;
  capacity = std::min(capacity, max_tokens_);

  std::vector<std::unique_ptr<float[]>> grown(layers_.size());
  int64_t total_bytes = 0;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    int64_t floats = 0, bytes = 0;
    if (__builtin_mul_overflow(capacity, spec_.floats_per_token[layer], &floats) ||
        __builtin_mul_overflow(floats, static_cast<int64_t>(sizeof(float)), &bytes) ||
        __builtin_add_overflow(total_bytes, bytes, &total_bytes)) {
      return Fail("state: {} tokens do not fit in memory", capacity);
    }
    // Left uninitialised on purpose: pages that no token has reached take no memory.
    grown[layer].reset(new (std::nothrow) float[static_cast<size_t>(floats)]);
    if (grown[layer] == nullptr) {
      return Fail("state: no memory for {} tokens ({} bytes for layers 0 to {})", capacity, total_bytes,
                  layer);
    }
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const size_t floats = static_cast<size_t>(view_.length * spec_.floats_per_token[layer]);
    if (floats > 0) std::memcpy(grown[layer].get(), layers_[layer].get(), floats * sizeof(float));
    view_.layers[layer] = grown[layer].get();
  }
  layers_ = std::move(grown);
  view_.capacity = capacity;
  return {};
}

void KvCache::Truncate(int64_t length) {
  DS_CHECK(length >= 0 && length <= view_.length, "a state can only be cut shorter");
  view_.length = length;
}

int64_t KvCache::allocated_bytes() const {
  int64_t floats = 0;
  for (const int64_t n : spec_.floats_per_token) floats += n * view_.capacity;
  return floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace deepshock
