// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace deepshock {
namespace {

// Layers of one, two and one head of a few float32 dims, or all of `type`.
StateSpec Spec(KvType type = KvType::kF32) {
  return {{{.type = type, .key_dim = 3},
           {.type = type, .num_heads = 2, .key_dim = 5, .value_dim = 1},
           {.type = type, .key_dim = 24, .value_dim = 16, .key_split = 16, .shared_values = true}}};
}

// Fills the bytes of token `t` with a pattern; a layer's groups lie one after the other.
void Append(KvCache& cache, const StateSpec& spec) {
  KvView* view = cache.view();
  ASSERT_LT(view->length, view->capacity);
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const int64_t token_bytes = spec.layers[layer].group_bytes() / kKvGroup;
    std::memset(view->layers[layer] + view->length * token_bytes,
                static_cast<int>(view->length + static_cast<int64_t>(layer)) % 251,
                static_cast<size_t>(token_bytes));
  }
  ++view->length;
}

void ExpectTokens(KvCache& cache, const StateSpec& spec, int64_t count) {
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const int64_t token_bytes = spec.layers[layer].group_bytes() / kKvGroup;
    for (int64_t t = 0; t < count; ++t) {
      const auto expected = static_cast<std::byte>((t + static_cast<int64_t>(layer)) % 251);
      ASSERT_EQ(cache.view()->layers[layer][t * token_bytes], expected) << layer << " " << t;
      ASSERT_EQ(cache.view()->layers[layer][(t + 1) * token_bytes - 1], expected) << layer << " " << t;
    }
  }
}

TEST(KvCache, GrowsByGroupsAndNothingMoves) {
  for (const KvType type : {KvType::kF32, KvType::kQ16, KvType::kQ8}) {
    const StateSpec spec = Spec(type);
    KvCache cache(spec, 1000);
    EXPECT_EQ(cache.view()->type, type);
    EXPECT_EQ(cache.capacity(), 0);
    EXPECT_EQ(cache.allocated_bytes(), 0);
    std::vector<std::byte*> layers;
    for (int64_t t = 0; t < 1000; ++t) {
      ASSERT_TRUE(cache.Reserve(t + 1).ok());
      ASSERT_EQ(cache.capacity(), std::min<int64_t>(1000, t / 32 * 32 + 32));
      if (t == 0) layers = cache.view()->layers;
      Append(cache, spec);
    }
    EXPECT_EQ(cache.view()->layers, layers);
    EXPECT_EQ(cache.allocated_bytes(), 1024 * spec.bytes_per_token());  // whole groups
    for (const std::byte* layer : cache.view()->layers) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(layer) % 64, 0u);
    }
    ExpectTokens(cache, spec, 1000);
    EXPECT_EQ(cache.Reserve(1001).message(),
              "state: expected at most 1000 tokens, the context length, found 1001");
  }
}

// A context of a million tokens and many sequences cost address space, and memory only for what they hold.
TEST(KvCache, ALongContextCostsNothingUntilItIsUsed) {
  const StateSpec spec{std::vector<KvLayout>(27, {.type = KvType::kQ16, .key_dim = 576})};
  const auto resident = [] {
    long pages = 0;
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(file, "%*d %ld", &pages), 1);
    std::fclose(file);
    return pages * ::sysconf(_SC_PAGESIZE);
  };
  const int64_t before = resident();
  std::vector<std::unique_ptr<KvCache>> caches;
  for (int i = 0; i < 32; ++i) {
    caches.push_back(std::make_unique<KvCache>(spec, 1 << 20));
    ASSERT_TRUE(caches.back()->Reserve(64).ok());
    for (int t = 0; t < 64; ++t) Append(*caches.back(), spec);
  }
  // 32 x 64 tokens of 62 KB (128 MB), and up to a page a layer more; not 32 x 1 M tokens, nor huge pages.
  EXPECT_LT(resident() - before, 32 * (64 * spec.bytes_per_token() + 27 * 8192) + (16 << 20));
  KvCache& cache = *caches[0];
  ASSERT_TRUE(cache.Reserve(10000).ok());
  for (int t = 64; t < 10000; ++t) Append(cache, spec);
  const int64_t full = resident();
  cache.Truncate(64);
  EXPECT_GT(resident(), full - (1 << 20)) << "kept until asked";
  cache.Shrink();
  EXPECT_EQ(cache.capacity(), 64);
  EXPECT_LT(resident(), full - 9000 * spec.bytes_per_token());
  ExpectTokens(cache, spec, 64);
}

TEST(KvCache, TypesDifferInSize) {
  // One head: 3 dims are padded to 16.
  const auto bytes = [](KvType type) {
    return KvLayout{.type = type, .key_dim = 3}.group_bytes() / kKvGroup;
  };
  EXPECT_EQ(bytes(KvType::kF32), 16 * 4);
  EXPECT_EQ(bytes(KvType::kQ16), 16 * 2 + 4 + 4);  // scales of the key and of the value
  EXPECT_EQ(bytes(KvType::kQ8), 16 + 8 + 4);       // scale and sum of the key, scale of the value
}

TEST(KvCache, TruncateKeepsTheBeginning) {
  const StateSpec spec = Spec();
  KvCache cache(spec, 10);
  ASSERT_TRUE(cache.Reserve(10).ok());
  for (int i = 0; i < 10; ++i) Append(cache, spec);
  cache.Truncate(4);
  EXPECT_EQ(cache.length(), 4);
  EXPECT_EQ(cache.capacity(), 10);
  ExpectTokens(cache, spec, 4);
}

TEST(KvCache, TooMuchMemoryIsAnErrorThatChangesNothing) {
  const StateSpec spec{{{.key_dim = 4}, {.key_dim = INT64_MAX / 1000}}};
  KvCache cache(spec, INT64_MAX / 4);
  EXPECT_FALSE(cache.Reserve(1).ok());
  EXPECT_EQ(cache.capacity(), 0);
  KvCache overflow(StateSpec{{{.key_dim = INT64_MAX / 1000}}}, 1 << 20);
  EXPECT_FALSE(overflow.Reserve(100000).ok());
}

TEST(KvCache, TakesItsMemoryFromABudgetAndReturnsIt) {
  const StateSpec spec = Spec();
  const int64_t of_32 = 32 * spec.bytes_per_token();
  FixedBudget budget(10 * of_32);
  {
    KvCache cache(spec, 1000, &budget), other(spec, 1000, &budget);
    ASSERT_TRUE(cache.Reserve(1).ok());
    EXPECT_EQ(cache.allocated_bytes(), of_32);
    for (int i = 0; i < 20; ++i) Append(cache, spec);
    ASSERT_TRUE(cache.Reserve(300).ok());
    EXPECT_EQ(cache.capacity(), 320);
    const Status too_many = cache.Reserve(321);
    EXPECT_NE(too_many.message().find("state of 321 tokens: memory: expected at most 0 of the"),
              std::string::npos)
        << too_many.message();
    EXPECT_EQ(cache.capacity(), 320) << "nothing has changed";
    ExpectTokens(cache, spec, 20);
    EXPECT_FALSE(other.Reserve(1).ok());
    cache.Shrink();
    EXPECT_EQ(cache.capacity(), 32);
    EXPECT_TRUE(other.Reserve(9 * 32).ok());
    EXPECT_FALSE(cache.Reserve(33).ok());
  }
  EXPECT_TRUE(budget.Take(10 * of_32).ok()) << "all of it came back";
}

}  // namespace
}  // namespace deepshock
