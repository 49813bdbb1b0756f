// SPDX-License-Identifier: Apache-2.0
// Policies on made-up routing: what each is for, and where it must not fail.
#include "experts/cache_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "experts/residency.h"

namespace deepshock {
namespace {

constexpr int kLayers = 6, kExperts = 32, kChosen = 4;

ExpertSpace Space() {
  std::vector<int32_t> layers(kLayers);
  std::iota(layers.begin(), layers.end(), 1);
  return {layers, kExperts, kChosen};
}

// Each layer has likings of its own: expert ranks drawn by seed, chosen with probability falling by rank.
class Text {
 public:
  explicit Text(uint32_t seed) : random_(seed) {
    for (std::vector<int32_t>& order : order_) {
      order.resize(kExperts);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random_);
    }
  }
  // What one token chooses in a layer.
  std::vector<int32_t> Choose(int layer_index) {
    std::vector<int32_t> chosen;
    std::geometric_distribution<int> rank(0.15);
    while (chosen.size() < kChosen) {
      const int r = rank(random_);
      if (r >= kExperts) continue;
      const int32_t expert = order_[static_cast<size_t>(layer_index)][static_cast<size_t>(r)];
      if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end()) chosen.push_back(expert);
    }
    return chosen;
  }
  ExpertRates Rates(const ExpertSpace& space) {
    ExpertRates rates(space.size(), 0);
    for (int token = 0; token < 400; ++token) {
      for (int l = 0; l < kLayers; ++l) {
        for (const int32_t e : Choose(l))
          rates[space.Index({space.layers()[static_cast<size_t>(l)], e})] += 1 / 400.f;
      }
    }
    return rates;
  }

 private:
  std::mt19937 random_;
  std::vector<int32_t> order_[kLayers];
};

// A pass over `num_rows` tokens of the text.
void Pass(Text& text, int num_rows, Residency* residency) {
  for (int l = 0; l < kLayers; ++l) {
    std::vector<int32_t> rows(kExperts, 0);
    for (int t = 0; t < num_rows; ++t) {
      for (const int32_t e : text.Choose(l)) ++rows[static_cast<size_t>(e)];
    }
    std::vector<ExpertUse> uses;
    for (int32_t e = 0; e < kExperts; ++e) {
      if (rows[static_cast<size_t>(e)] > 0) uses.push_back({e, rows[static_cast<size_t>(e)]});
    }
    residency->BeginLayer(l + 1, num_rows, uses);
    ExpertWave wave;
    while (residency->NextWave(&wave)) EXPECT_LE(residency->used_bytes(), residency->capacity_bytes());
  }
}

Residency Make(const std::string& policy, int64_t capacity, std::vector<ExpertRates> profiles = {}) {
  auto made = MakeCachePolicy(policy, Space(), std::move(profiles));
  EXPECT_TRUE(made.ok()) << made.message();
  return {Space(), std::vector<int64_t>(kLayers, 1), capacity, std::move(made).value()};
}

// Hit rate of the next `num_passes` tokens, one by one.
double Decode(Text& text, int num_passes, Residency* residency) {
  const ResidencyStats before = residency->stats();
  for (int i = 0; i < num_passes; ++i) Pass(text, 1, residency);
  return static_cast<double>(residency->stats().hits - before.hits) /
         static_cast<double>(residency->stats().touched - before.touched);
}

TEST(CachePolicy, NamesAndErrors) {
  EXPECT_EQ((*MakeCachePolicy("lru", Space(), {}))->name(), "lru");
  EXPECT_EQ((*MakeCachePolicy("auto", Space(), {}))->name(), "frequency");
  const ExpertRates rates(Space().size(), 0.1f);
  EXPECT_EQ((*MakeCachePolicy("auto", Space(), {rates}))->name(), "profile");
  EXPECT_EQ((*MakeCachePolicy("frequency", Space(), {rates}))->name(), "frequency");
  EXPECT_EQ(MakeCachePolicy("profile", Space(), {}).message(),
            "expert policy 'profile': expected groups of experts to go by, found none");
  EXPECT_EQ(MakeCachePolicy("mru", Space(), {}).message(),
            "expert policy: expected one of auto, lru, frequency, profile, found 'mru'");
}

// A token uses 24 experts; with 20 places the last-used ones are never those needed next.
TEST(CachePolicy, MemoryBelowATokensExperts) {
  Text text(1);
  Residency lru = Make("lru", 20), frequency = Make("frequency", 20);
  Decode(text, 100, &lru);
  Decode(text, 100, &frequency);
  EXPECT_LT(Decode(text, 200, &lru), 0.06);
  EXPECT_GT(Decode(text, 200, &frequency), 0.25);
}

TEST(CachePolicy, FrequencyBeatsLruWithMoreMemoryToo) {
  for (const int64_t capacity : {48, 96}) {
    Text text(2);
    Residency lru = Make("lru", capacity), frequency = Make("frequency", capacity);
    Decode(text, 100, &lru);
    Decode(text, 100, &frequency);
    const double of_lru = Decode(text, 200, &lru);
    EXPECT_GT(Decode(text, 200, &frequency), of_lru + 0.02) << capacity;
  }
}

// Another sequence's prompt uses every expert; what the one that goes on needs must still be there.
TEST(CachePolicy, FrequencySurvivesAScan) {
  Text text(3), other(4);
  Residency lru = Make("lru", 96), frequency = Make("frequency", 96);
  for (Residency* r : {&lru, &frequency}) {
    const double before = (Decode(text, 100, r), Decode(text, 100, r));
    Pass(other, 24, r);
    const double after = Decode(text, 4, r);
    if (r == &lru) {
      EXPECT_LT(after, before - 0.15);
    } else {
      EXPECT_GT(after, before - 0.12);
    }
  }
}

TEST(CachePolicy, FrequencyFollowsTheText) {
  Text text(5), other(6);
  Residency r = Make("frequency", 96);
  const double settled = (Decode(text, 200, &r), Decode(text, 200, &r));
  Decode(other, 200, &r);
  EXPECT_GT(Decode(other, 200, &r), settled - 0.05);
}

// A hint counts for more than what is known of the past, until its layer's turn.
TEST(CachePolicy, WhatIsForetoldStaysUntilItsTurn) {
  for (const char* policy : {"lru", "frequency"}) {
    Text text(7);
    Residency r = Make(policy, 48);
    Decode(text, 100, &r);
    const std::vector<ExpertUse> uses = {{0, 1}, {1, 1}, {2, 1}, {3, 1}};
    ExpertWave wave;
    r.BeginLayer(1, 1, uses);
    ASSERT_TRUE(r.NextWave(&wave));
    ExpertId hinted = {2, 0};
    while (r.Contains(hinted)) ++hinted.expert;
    std::vector<ExpertId> evicted;
    EXPECT_TRUE(r.Admit(hinted, Residency::Unasked::kForetold, &evicted)) << policy;
    EXPECT_EQ(evicted.size(), 1u) << policy;
    EXPECT_FALSE(r.NextWave(&wave));
    r.BeginLayer(2, 1, std::vector<ExpertUse>{{hinted.expert, 1}});
    ASSERT_TRUE(r.NextWave(&wave));
    EXPECT_EQ(wave.ready, std::vector<ExpertId>{hinted}) << policy;
    EXPECT_FALSE(r.NextWave(&wave));
  }
}

TEST(CachePolicy, TheRightProfileHelpsAtOnce) {
  double cold = 0, with = 0;
  for (uint32_t seed = 10; seed < 20; ++seed) {
    Text text(seed);
    Residency frequency = Make("frequency", 80), profile = Make("profile", 80, {text.Rates(Space())});
    cold += Decode(text, 32, &frequency) / 10;
    with += Decode(text, 32, &profile) / 10;
  }
  EXPECT_GT(with, cold + 0.01);
}

// Advice, not a filter: a profile of another text must not cost more than a few tokens.
TEST(CachePolicy, TheWrongProfileGivesWay) {
  double cold = 0, with = 0, beside = 0, alone = 0;
  for (uint32_t seed = 20; seed < 30; ++seed) {
    Text text(seed), other(seed + 100);
    const ExpertRates wrong = other.Rates(Space()), right = text.Rates(Space());
    Residency frequency = Make("frequency", 80), profile = Make("profile", 80, {wrong});
    Residency both = Make("profile", 80, {wrong, right}), one = Make("profile", 80, {right});
    cold += Decode(text, 64, &frequency) / 10;
    with += Decode(text, 64, &profile) / 10;
    beside += Decode(text, 64, &both) / 10;
    alone += Decode(text, 64, &one) / 10;
  }
  EXPECT_GT(with, cold - 0.01);
  EXPECT_GT(beside, alone - 0.01);
}

}  // namespace
}  // namespace deepshock
