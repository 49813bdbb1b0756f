// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace deepshock {
namespace {

// Writes token `t` as Forward would: value t + 1000 * layer in every float.
void Append(KvCache& cache, const StateSpec& spec) {
  KvView* view = cache.view();
  ASSERT_LT(view->length, view->capacity);
  for (size_t layer = 0; layer < spec.floats_per_token.size(); ++layer) {
    const int64_t n = spec.floats_per_token[layer];
    for (int64_t i = 0; i < n; ++i) {
      view->layers[layer][view->length * n + i] =
          static_cast<float>(view->length) + 1000.0f * static_cast<float>(layer);
    }
  }
  ++view->length;
}

TEST(KvCache, GrowsByDoublingAndKeepsWhatIsThere) {
  const StateSpec spec{{3, 1, 8}};
  KvCache cache(spec, 1000);
  EXPECT_EQ(cache.capacity(), 0);
  EXPECT_EQ(cache.allocated_bytes(), 0);
  int64_t last_capacity = 0;
  int num_growths = 0;
  for (int64_t t = 0; t < 1000; ++t) {
    ASSERT_TRUE(cache.Reserve(t + 1).ok());
    if (cache.capacity() != last_capacity) ++num_growths;
    last_capacity = cache.capacity();
    Append(cache, spec);
  }
  EXPECT_EQ(cache.capacity(), 1000);  // the last doubling stops at the context length
  EXPECT_EQ(num_growths, 4);          // 128, 256, 512, 1000
  EXPECT_EQ(cache.allocated_bytes(), 1000 * 12 * 4);
  for (int64_t t = 0; t < 1000; ++t) {
    EXPECT_EQ(cache.view()->layers[2][t * 8 + 7], static_cast<float>(t) + 2000.0f);
    EXPECT_EQ(cache.view()->layers[0][t * 3], static_cast<float>(t));
  }
  EXPECT_EQ(cache.Reserve(1001).message(),
            "state: expected at most 1000 tokens, the context length, found 1001");
}

TEST(KvCache, TruncateKeepsTheBeginning) {
  const StateSpec spec{{2}};
  KvCache cache(spec, 10);
  ASSERT_TRUE(cache.Reserve(10).ok());
  for (int i = 0; i < 10; ++i) Append(cache, spec);
  cache.Truncate(4);
  EXPECT_EQ(cache.length(), 4);
  EXPECT_EQ(cache.capacity(), 10);
  EXPECT_EQ(cache.view()->layers[0][3 * 2], 3.0f);
}

TEST(KvCache, TooMuchMemoryIsAnErrorThatChangesNothing) {
  const StateSpec spec{{4, INT64_MAX / 200}};
  KvCache cache(spec, INT64_MAX / 4);
  EXPECT_FALSE(cache.Reserve(1).ok());
  EXPECT_EQ(cache.capacity(), 0);
  KvCache overflow(StateSpec{{INT64_MAX / 2}}, 1 << 20);
  EXPECT_FALSE(overflow.Reserve(1000).ok());
}

}  // namespace
}  // namespace deepshock
