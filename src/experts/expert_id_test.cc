// SPDX-License-Identifier: Apache-2.0
#include "experts/expert_id.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace deepshock {
namespace {

TEST(ExpertId, OrdersByLayerThenExpert) {
  EXPECT_LT((ExpertId{1, 9}), (ExpertId{2, 0}));
  EXPECT_LT((ExpertId{1, 2}), (ExpertId{1, 9}));
  EXPECT_EQ((ExpertId{1, 2}), (ExpertId{1, 2}));
}

TEST(ExpertId, HashTellsLayerFromExpert) {
  std::unordered_set<size_t> hashes;
  for (int32_t layer = 0; layer < 8; ++layer) {
    for (int32_t expert = 0; expert < 8; ++expert) hashes.insert(std::hash<ExpertId>()({layer, expert}));
  }
  EXPECT_EQ(hashes.size(), 64u);
}

}  // namespace
}  // namespace deepshock
