// SPDX-License-Identifier: Apache-2.0
#include "experts/residency.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace deepshock {
namespace {

// Layers 1 and 3 with four experts each; those of layer 3 take twice the place.
constexpr int64_t kSmall = 10, kLarge = 20;
Residency Make(int64_t capacity, const char* policy = "lru") {
  const ExpertSpace space({1, 3}, 4, 2);
  return {space, {kSmall, kLarge}, capacity, *MakeCachePolicy(policy, space, {})};
}

std::vector<ExpertId> Ids(int32_t layer, std::initializer_list<int32_t> experts) {
  std::vector<ExpertId> ids;
  for (const int32_t e : experts) ids.push_back({layer, e});
  return ids;
}

// All waves of a layer.
std::vector<ExpertWave> Layer(Residency* r, int32_t layer, const std::vector<ExpertUse>& uses) {
  std::vector<ExpertWave> waves;
  r->BeginLayer(layer, 8, uses);
  ExpertWave wave;
  while (r->NextWave(&wave)) {
    EXPECT_LE(r->used_bytes(), r->capacity_bytes());
    waves.push_back(wave);
  }
  return waves;
}

TEST(Residency, LoadsMostRowsFirstAndHitsAfterwards) {
  Residency r = Make(100);
  std::vector<ExpertWave> waves = Layer(&r, 1, {{0, 1}, {2, 5}, {3, 1}});
  ASSERT_EQ(waves.size(), 1u);
  EXPECT_EQ(waves[0].load, Ids(1, {2, 0, 3}));
  EXPECT_TRUE(waves[0].ready.empty());
  EXPECT_TRUE(waves[0].evicted.empty());
  waves = Layer(&r, 1, {{1, 1}, {2, 1}});
  EXPECT_EQ(waves[0].ready, Ids(1, {2}));
  EXPECT_EQ(waves[0].load, Ids(1, {1}));
  EXPECT_EQ(r.used_bytes(), 4 * kSmall);
  EXPECT_EQ(r.stats().touched, 5);
  EXPECT_EQ(r.stats().hits, 1);
  EXPECT_EQ(r.stats().loaded_bytes, 4 * kSmall);
  EXPECT_DOUBLE_EQ(r.stats().hit_rate(), 0.2);
}

TEST(Residency, EvictsAsManyAsTheNewcomerNeeds) {
  Residency r = Make(45);
  Layer(&r, 1, {{0, 1}, {1, 1}});
  Layer(&r, 1, {{2, 1}, {3, 1}});
  const std::vector<ExpertWave> waves = Layer(&r, 3, {{0, 1}});
  EXPECT_EQ(waves[0].evicted, Ids(1, {0, 1}));
  EXPECT_EQ(r.used_bytes(), 2 * kSmall + kLarge);
  EXPECT_EQ(r.stats().evictions, 2);
  EXPECT_FALSE(r.Contains({1, 0}));
  EXPECT_TRUE(r.Contains({1, 3}));
}

TEST(Residency, WavesWhereALayerDoesNotFit) {
  Residency r = Make(40);
  Layer(&r, 3, {{3, 1}});
  const std::vector<ExpertWave> waves = Layer(&r, 3, {{0, 4}, {1, 3}, {2, 2}, {3, 1}});
  ASSERT_EQ(waves.size(), 2u);
  EXPECT_EQ(waves[0].ready, Ids(3, {3}));
  EXPECT_EQ(waves[0].load, Ids(3, {0}));
  // All were used at the same time: the lower id leaves first, and each is computed once.
  EXPECT_EQ(waves[1].load, Ids(3, {1, 2}));
  EXPECT_EQ(waves[1].evicted, Ids(3, {0, 3}));
}

TEST(Residency, PrefetchedIsAHitAndUnusedIsTold) {
  Residency r = Make(40);
  std::vector<ExpertId> evicted;
  EXPECT_TRUE(r.Admit({1, 1}, Residency::Unasked::kForetold, &evicted));
  EXPECT_TRUE(r.Admit({1, 2}, Residency::Unasked::kForetold, &evicted));
  Layer(&r, 1, {{1, 1}});
  EXPECT_EQ(r.stats().hits, 1);
  EXPECT_EQ(r.stats().prefetched_used, 1);
  Layer(&r, 3, {{0, 1}, {1, 1}});
  EXPECT_EQ(r.stats().prefetched, 2);
  EXPECT_EQ(r.stats().prefetched_unused, 1);
  EXPECT_TRUE(evicted.empty());
}

TEST(Residency, WhatIsLeasedHeldOrPinnedStays) {
  Residency r = Make(40);
  ASSERT_TRUE(r.Pin({1, 0}));
  Layer(&r, 1, {{0, 1}, {1, 1}, {2, 1}});
  r.Hold({1, 1}, true);
  std::vector<ExpertId> evicted;
  r.BeginLayer(1, 1, std::vector<ExpertUse>{{2, 1}});
  ExpertWave wave;
  ASSERT_TRUE(r.NextWave(&wave));
  EXPECT_FALSE(r.Admit({3, 0}, Residency::Unasked::kForetold, &evicted));
  EXPECT_TRUE(evicted.empty());
  EXPECT_FALSE(r.NextWave(&wave));
  r.Hold({1, 1}, false);
  Layer(&r, 1, {{3, 1}});
  Layer(&r, 3, {{0, 1}});
  EXPECT_TRUE(r.Contains({1, 0}));
  EXPECT_FALSE(r.Contains({1, 1}));
}

TEST(Residency, PinsLeaveRoomForTheLargest) {
  Residency r = Make(50);
  EXPECT_TRUE(r.Pin({3, 0}));
  EXPECT_TRUE(r.Pin({3, 0}));
  EXPECT_TRUE(r.Pin({1, 0}));
  EXPECT_FALSE(r.Pin({1, 1}));
  EXPECT_EQ(r.pinned_bytes(), 30);
  std::vector<ExpertId> evicted;
  EXPECT_FALSE(r.SetCapacity(49, &evicted));
  EXPECT_EQ(r.capacity_bytes(), 50);
}

TEST(Residency, WarmingUpSendsNobodyAway) {
  Residency r = Make(30);
  std::vector<ExpertId> evicted;
  EXPECT_TRUE(r.Admit({3, 0}, Residency::Unasked::kWarmup, &evicted));
  EXPECT_TRUE(r.Admit({1, 0}, Residency::Unasked::kWarmup, &evicted));
  EXPECT_FALSE(r.Admit({1, 1}, Residency::Unasked::kWarmup, &evicted));
  EXPECT_TRUE(evicted.empty());
  EXPECT_EQ(r.stats().warmed_bytes, 30);
}

TEST(Residency, ALowerCapacitySendsAwayTheLeastWorth) {
  Residency r = Make(60);
  Layer(&r, 1, {{0, 1}, {1, 1}});
  Layer(&r, 3, {{0, 1}, {1, 1}});
  std::vector<ExpertId> evicted;
  EXPECT_TRUE(r.SetCapacity(45, &evicted));
  EXPECT_EQ(evicted, Ids(1, {0, 1}));
  EXPECT_FALSE(r.SetCapacity(19, &evicted));
  EXPECT_EQ(r.used_bytes(), 40);
}

TEST(Residency, AFailedReadLeavesNothingBehind) {
  Residency r = Make(40);
  Layer(&r, 1, {{0, 1}, {1, 1}});
  r.Remove({1, 0});
  r.Remove({1, 0});
  EXPECT_EQ(r.used_bytes(), kSmall);
  const std::vector<ExpertWave> waves = Layer(&r, 1, {{0, 1}, {1, 1}});
  EXPECT_EQ(waves[0].load, Ids(1, {0}));
  EXPECT_EQ(waves[0].ready, Ids(1, {1}));
}

}  // namespace
}  // namespace deepshock
