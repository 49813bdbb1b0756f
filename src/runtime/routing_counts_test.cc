// SPDX-License-Identifier: Apache-2.0
#include "runtime/routing_counts.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

class RoutingOfTiny : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Model::Load(std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf");
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = std::move(*loaded);
  }

  static TokenSequence Sequence(int64_t record, int32_t first, int count) {
    TokenSequence s{{}, record};
    for (int i = 0; i < count; ++i) s.tokens.push_back((first + 37 * i) % 8000);
    return s;
  }
  RoutingHalves Count(const std::vector<TokenSequence>& sequences) {
    auto counts = CountRouting(*model_, compute_, sequences, KvType::kF32, {});
    EXPECT_TRUE(counts.ok()) << counts.message();
    return std::move(*counts);
  }

  ThreadPool pool_{2};
  Compute compute_{BestKernels(), pool_};
  std::unique_ptr<Model> model_;
};

TEST_F(RoutingOfTiny, EveryTokenCountsOnceInEachLayer) {
  // One is longer than a pass, the others share one.
  const std::vector<TokenSequence> sequences = {Sequence(0, 5, 530), Sequence(1, 99, 7), Sequence(2, 7, 12)};
  RoutingHalves counts = Count(sequences);
  int64_t expected[2] = {0, 0};
  for (const TokenSequence& s : sequences)
    expected[HalfOf(s.record)] += static_cast<int64_t>(s.tokens.size());
  EXPECT_EQ(counts.first.num_tokens(), expected[0]);
  EXPECT_EQ(counts.second.num_tokens(), expected[1]);
  const ExpertProfile profile = counts.Both().Profile();
  ASSERT_EQ(profile.layers.size(), 7u);  // the first layer is dense, the MTP layer does not run
  for (const LayerProfile& layer : profile.layers) {
    double token = 0, gate = 0;
    for (const double share : layer.token) token += share;
    for (const double weight : layer.gate) gate += weight;
    EXPECT_NEAR(token, 1, 1e-9);
    EXPECT_NEAR(gate, 1, 1e-6);  // weights are normalised, and count before the scaling factor
  }
}

TEST_F(RoutingOfTiny, TogetherIsAsAlone) {
  const std::vector<TokenSequence> sequences = {Sequence(0, 5, 20), Sequence(1, 99, 7), Sequence(2, 7, 12)};
  RoutingCounts alone(32, 4);
  for (const TokenSequence& s : sequences) alone.Merge(Count({s}).Both());
  const ExpertProfile together = Count(sequences).Both().Profile(), apart = alone.Profile();
  ASSERT_EQ(together.layers.size(), apart.layers.size());
  for (size_t l = 0; l < apart.layers.size(); ++l) EXPECT_EQ(together.layers[l].token, apart.layers[l].token);
}

TEST_F(RoutingOfTiny, OneRecordIsHalvedBySequences) {
  RoutingHalves counts = Count({Sequence(0, 5, 20), Sequence(0, 99, 7)});
  EXPECT_EQ(counts.Half(HalfOf(0)).num_tokens(), 20);
  EXPECT_EQ(counts.Half(HalfOf(1)).num_tokens(), 7);
}

TEST_F(RoutingOfTiny, StopsWhereTheCallerSaysSo) {
  const std::vector<TokenSequence> sequences = {Sequence(0, 5, 530), Sequence(1, 9, 530)};
  const auto counts = CountRouting(*model_, compute_, sequences, KvType::kF32,
                                   [](int64_t done, int64_t) { return done < 500; });
  EXPECT_EQ(counts.message(), "interrupted after 512 of 1060 tokens");
  EXPECT_NE(CountRouting(*model_, compute_, std::vector<TokenSequence>{{{-1}, 0}}, KvType::kF32, {})
                .message()
                .find("-1"),
            std::string::npos);
}

}  // namespace
}  // namespace deepshock
