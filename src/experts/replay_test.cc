// SPDX-License-Identifier: Apache-2.0
#include "experts/replay.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

namespace deepshock {
namespace {

const ExpertSpace& Space() {
  static const ExpertSpace space({1, 2}, 3, 1);
  return space;
}

UseTrace MadeUp(uint32_t seed, int num_passes) {
  std::mt19937 random(seed);
  UseTrace trace(Space());
  for (int p = 0; p < num_passes; ++p) {
    for (const int32_t layer : {1, 2}) {
      trace.Add(layer, 1, std::vector<ExpertUse>{{static_cast<int32_t>(random() % 3), 1}});
    }
  }
  return trace;
}

// Most hits that any sequence of decisions gives, all of them tried: sets of residents after each step.
int64_t BestByForce(const UseTrace& trace, int capacity) {
  std::map<unsigned, int64_t> best = {{0u, 0}};  // residents as bits -> hits so far
  for (const UseTrace::Layer& layer : trace.layers()) {
    std::map<unsigned, int64_t> after;
    const unsigned used = 1u << Space().Index({layer.layer, trace.UsesOf(layer)[0].expert});
    for (const auto& [residents, hits] : best) {
      const unsigned with = residents | used;
      const int64_t now = hits + ((residents & used) != 0 ? 1 : 0);
      // Any part of what was there may stay, as long as the one in use is there and all fit.
      for (unsigned keep = with; keep != 0; keep = (keep - 1) & with) {
        if ((keep & used) == 0 || __builtin_popcount(keep) > capacity) continue;
        auto [it, added] = after.try_emplace(keep, now);
        if (!added) it->second = std::max(it->second, now);
      }
    }
    best = std::move(after);
  }
  int64_t most = 0;
  for (const auto& [residents, hits] : best) most = std::max(most, hits);
  return most;
}

TEST(Replay, NothingBeatsHindsight) {
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    const UseTrace trace = MadeUp(seed, 20);
    for (int capacity = 1; capacity <= 5; ++capacity) {
      ReplayOptions options;
      options.capacity_bytes = capacity * 100;
      options.policy = kClairvoyant;
      const Result<ReplayResult> result = Replay(trace, {100, 100}, options);
      ASSERT_TRUE(result.ok()) << result.message();
      EXPECT_EQ(result->stats.hits, BestByForce(trace, capacity)) << seed << " " << capacity;
      for (const char* policy : {"lru", "frequency"}) {
        options.policy = policy;
        EXPECT_LE(Replay(trace, {100, 100}, options)->stats.hits, result->stats.hits) << policy;
      }
    }
  }
}

TEST(Replay, CountsWhatATraceSays) {
  // Two rows of three count; expert 2 was left out for one of them.
  const std::vector<int32_t> first = {0, 1, 1}, second = {2, 0, -1};
  const std::vector<float> weights = {1, 1, 1};
  const std::vector<LayerRouting> layers = {{1, first, weights}, {2, second, weights}};
  std::vector<RoutedRow> rows(2);
  rows[0].row = 0;
  rows[1].row = 2;
  rows[1].phase = RoutingPhase::kDecode;
  RoutingStep step;
  step.num_pass_rows = 3;
  step.num_chosen = 1;
  step.rows = rows;
  step.layers = layers;
  UseTrace trace(Space());
  trace.OnStep(step);
  trace.OnStep(step);
  EXPECT_EQ(trace.num_tokens(), 4);
  EXPECT_EQ(trace.num_decoded(), 2);
  EXPECT_EQ(trace.num_passes(), 2);
  ReplayOptions options;
  options.policy = "lru";
  options.capacity_bytes = 600;
  Result<ReplayResult> result = Replay(trace, {100, 200}, options);
  ASSERT_TRUE(result.ok()) << result.message();
  EXPECT_EQ(result->stats.touched, 6);  // {0, 1} of layer 1 and {2} of layer 2, twice
  EXPECT_EQ(result->stats.hits, 3);
  EXPECT_EQ(result->stats.loaded_bytes, 400);
  options.warm = {{1, 0}, {2, 2}};
  result = Replay(trace, {100, 200}, options);
  EXPECT_EQ(result->stats.hits, 5);
  EXPECT_EQ(result->stats.warmed_bytes, 300);
}

// Request 1 has 100 tokens of a prompt, then grows past 128; request 2 comes after its end.
TEST(Replay, StatesTakeTheirMemoryFromExperts) {
  UseTrace trace(Space());
  const std::vector<float> weights(100, 1);
  for (const auto& [request, from, count] :
       std::vector<std::array<int64_t, 3>>{{1, 0, 100}, {1, 100, 28}, {1, 128, 1}, {2, 0, 1}}) {
    std::vector<int32_t> experts(static_cast<size_t>(count), 0);
    experts[0] = 1;
    const std::vector<LayerRouting> layers = {{1, experts, weights}, {2, experts, weights}};
    std::vector<RoutedRow> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      RoutedRow& row = rows[static_cast<size_t>(i)];
      row.request = static_cast<uint64_t>(request);
      row.position = from + i;
      row.row = static_cast<int32_t>(i);
    }
    RoutingStep step;
    step.num_pass_rows = count;
    step.num_chosen = 1;
    step.rows = rows;
    step.layers = layers;
    trace.OnStep(step);
  }
  const std::vector<UseTrace::StateChange> changes = trace.StateChanges();
  ASSERT_EQ(changes.size(), 5u);
  EXPECT_EQ(changes[1].pass, 2);
  EXPECT_EQ(changes[1].from, 128);
  EXPECT_EQ(changes[1].to, 160);
  EXPECT_EQ(changes[2].to, 0);
  EXPECT_EQ(changes[3].pass, 3);
  // Experts of 100 bytes and states of 1 byte a token, in groups of 32.
  ReplayOptions options;
  options.policy = "lru";
  options.capacity_bytes = 400 + 140;
  options.state_token_bytes = 1;
  Result<ReplayResult> result = Replay(trace, {100, 100}, options);
  ASSERT_TRUE(result.ok()) << result.message();
  // Four experts are read once; for the growth one of them has to go, which is not needed again.
  EXPECT_EQ(result->stats.evictions, 1);
  EXPECT_EQ(result->stats.loads, 4);
  EXPECT_EQ(result->stats.hits, 8);
  options.capacity_bytes = 100 + 159;
  result = Replay(trace, {100, 100}, options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(
      result.message(),
      "memory for experts and states: found 259 bytes, of which states take 160 in pass 2; too few are left "
      "for experts");
}

TEST(Replay, SaysWhatIsTooLittle) {
  const UseTrace trace = MadeUp(1, 2);
  ReplayOptions options;
  options.capacity_bytes = 99;
  EXPECT_EQ(Replay(trace, {100, 50}, options).message(),
            "memory for experts: expected at least 100 bytes, which the largest takes, found 99");
  options.capacity_bytes = 250;
  options.pinned = {{1, 0}, {1, 1}};
  EXPECT_EQ(Replay(trace, {100, 50}, options).message(),
            "pinned experts: expected at most 150 bytes, found 100 and more");
}

}  // namespace
}  // namespace deepshock
