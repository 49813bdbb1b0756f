// SPDX-License-Identifier: Apache-2.0
#include "experts/warm_up.h"

#include <gtest/gtest.h>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

const ExpertSpace& Space() {
  static const ExpertSpace space({1, 2}, 4, 2);
  return space;
}

ExpertProfile Profile(std::vector<double> one, std::vector<double> two) {
  ExpertProfile profile;
  profile.num_experts = 4;
  profile.top_k = 2;
  profile.layers = {{1, std::move(one), {}}, {2, std::move(two), {}}};
  return profile;
}

TEST(WarmUp, RatesAreTimesATokenChooses) {
  const ExpertRates rates = RatesOf(Profile({0.5, 0.25, 0.25, 0}, {1, 0, 0, 0}), ExpertSpace({1, 3}, 4, 2));
  EXPECT_EQ(rates, (ExpertRates{1, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0.5}));
}

TEST(WarmUp, ProfilesTakeTurns) {
  const ExpertProfile a = Profile({0.5, 0.3, 0.2, 0}, {0.4, 0.6, 0, 0});
  const ExpertProfile b = Profile({0, 0, 0.1, 0.9}, {0, 0.8, 0, 0.2});
  const ExpertProfile* one[] = {&a};
  EXPECT_EQ(WarmUpOrder(one, Space()), (std::vector<ExpertId>{{2, 1}, {1, 0}, {2, 0}, {1, 1}, {1, 2}}));
  const ExpertProfile* both[] = {&a, &b};
  EXPECT_EQ(WarmUpOrder(both, Space()),
            (std::vector<ExpertId>{{2, 1}, {1, 3}, {1, 0}, {2, 3}, {2, 0}, {1, 2}, {1, 1}}));
  EXPECT_TRUE(WarmUpOrder({}, Space()).empty());
}

TEST(WarmUp, CoveredShare) {
  const ExpertProfile a = Profile({0.5, 0.3, 0.2, 0}, {0.4, 0.6, 0, 0});
  const std::vector<ExpertId> held = {{1, 0}, {2, 1}};
  EXPECT_NEAR(CoveredShare(a, Space(), held), (0.5 + 0.6) / 2, 1e-12);
}

TEST(WarmUp, ParsesExperts) {
  EXPECT_EQ(*ParseExpertId("2:3", Space()), (ExpertId{2, 3}));
  EXPECT_EQ(ParseExpertId("2-3", Space()).message(), "expected LAYER:EXPERT, found '2-3'");
  EXPECT_EQ(ParseExpertId("2:", Space()).message(), "expected LAYER:EXPERT, found '2:'");
  EXPECT_EQ(ParseExpertId("2:4", Space()).message(),
            "expected a layer with experts, of 1 to 2, and an expert of 0 to 3, found '2:4'");
  EXPECT_FALSE(ParseExpertId("0:0", Space()).ok());
  EXPECT_FALSE(ParseExpertId("-1:0", Space()).ok());
}

WarmSet Small() {
  WarmSet set;
  set.model.hidden = 384;
  set.model.num_experts = 32;
  set.model.top_k = 4;
  set.model.routers = {{1, 0x0123456789abcdefu}, {2, ~uint64_t{0}}};
  for (int32_t e = 0; e < 20; ++e) set.experts.push_back({1 + e % 2, e});
  return set;
}

TEST(WarmSet, RoundTrip) {
  FileTestDir dir;
  const WarmSet set = Small();
  ASSERT_TRUE(set.Save(dir.File("warm.json")).ok());
  const Result<WarmSet> loaded = WarmSet::Load(dir.File("warm.json"));
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  EXPECT_EQ(loaded->experts, set.experts);
  EXPECT_TRUE(loaded->CheckModel(set.model).ok());
  ModelFingerprint other = set.model;
  other.routers[0].signs = ~other.routers[0].signs;
  EXPECT_EQ(loaded->CheckModel(other).message(),
            "expected the warm set of this model, found another's (50 % of the router signs differ)");
  other = set.model;
  other.num_experts = 64;
  EXPECT_FALSE(loaded->CheckModel(other).ok());
}

TEST(WarmSet, RefusesWhatIsNone) {
  const std::string good = Small().ToJson();
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    const Result<WarmSet> set = WarmSet::Parse(text, "warm.json");
    return set.ok() ? std::string() : set.message();
  };
  EXPECT_EQ(broken("\"hidden\"", "\"hidden\""), "");
  EXPECT_EQ(broken("set\": 1", "set\": 2"), "warm.json: expected version 1 of a warm set, found 2");
  EXPECT_EQ(broken("\"hidden\"", "\"hid\""), "warm.json: expected a member \"hidden\", found none");
  EXPECT_EQ(broken("[1, 0]", "[1, 2]"), "warm.json: warm: expert 1:2 occurs twice");
  EXPECT_EQ(broken("[1, 0]", "[1, 32]"), "warm.json: warm: expert: expected a whole number from 0 to 31");
  EXPECT_EQ(broken("[1, 0]", "[1, 0.5]"), "warm.json: warm: expert: expected a whole number from 0 to 31");
  EXPECT_EQ(broken("[1, 0]", "[18446744073709551615, 0]"),
            "warm.json: warm: layer: expected a whole number from 0 to 4096");
  EXPECT_EQ(broken("[1, 0]", "[1]"), "warm.json: \"warm\": expected pairs");
  EXPECT_EQ(broken("cdef", "cdeg"), "warm.json: \"routers\": expected 16 hexadecimal digits");
  EXPECT_FALSE(WarmSet::Parse("[]", "x").ok());
  EXPECT_FALSE(WarmSet::Parse("{", "x").ok());
}

}  // namespace
}  // namespace deepshock
