// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

namespace deepshock {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int32_t NextToken(const SamplingOptions& options, const std::vector<float>& logits, uint64_t seed = 1,
                  const std::vector<int32_t>& prompt = {}) {
  Sampler sampler(options, seed, prompt);
  const Result<int32_t> token = sampler.Next(logits);
  EXPECT_TRUE(token.ok()) << token.message();
  return token.ok() ? *token : -1;
}

// Draws from independent samplers, so that penalties never apply.
std::vector<int64_t> Counts(const SamplingOptions& options, const std::vector<float>& logits, int num_draws) {
  std::vector<int64_t> counts(logits.size());
  Sampler sampler(options, 12345, {});
  for (int i = 0; i < num_draws; ++i) ++counts[static_cast<size_t>(*sampler.Next(logits))];
  return counts;
}

// Pearson's chi-square of the counts against the expected probabilities; a zero probability must have no
// count.
void ExpectDistribution(const std::vector<int64_t>& counts, const std::vector<double>& probabilities) {
  double total = 0, statistic = 0;
  for (const int64_t c : counts) total += static_cast<double>(c);
  int degrees = -1;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (probabilities[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
      continue;
    }
    const double expected = probabilities[i] * total;
    statistic +=
        (static_cast<double>(counts[i]) - expected) * (static_cast<double>(counts[i]) - expected) / expected;
    ++degrees;
  }
  // Mean + 5 standard deviations of the chi-square distribution: a fixed seed, so no flakiness.
  EXPECT_LT(statistic, degrees + 5 * std::sqrt(2.0 * std::max(degrees, 1)));
}

std::vector<double> Softmax(const std::vector<float>& logits, double temperature,
                            const std::vector<bool>& kept) {
  std::vector<double> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = kept[i] ? std::exp(logits[i] / temperature) : 0;
  for (double& x : p) x /= sum;
  return p;
}

const std::vector<float> kLogits = {1.0f, 2.5f, -0.5f, 2.0f, 0.0f, -3.0f, 1.5f, 2.4f};
const std::vector<bool> kAll(8, true);

TEST(SplitMix64, MatchesThePublishedSequence) {
  // The first outputs for seed 1234567 of the public-domain splitmix64.c (Vigna).
  SplitMix64 random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
}

TEST(SplitMix64, UniformStaysBelowOne) {
  SplitMix64 random(7);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double x = random.NextUniform();
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 5 * std::sqrt(1.0 / 12 / 10000));
}

TEST(Sampler, GreedyTakesTheLikeliestAndTiesGoToTheLowerId) {
  SamplingOptions greedy;
  greedy.temperature = 0;
  EXPECT_EQ(NextToken(greedy, kLogits), 1);
  EXPECT_EQ(NextToken(greedy, {0, 3, 3, 1}), 1);
  EXPECT_EQ(NextToken(greedy, {-1e30f, -1e30f}), 0);
}

TEST(Sampler, TheLikeliestIsFoundAnywhere) {
  SamplingOptions greedy;
  greedy.temperature = 0;
  for (const size_t size : {1, 2, 15, 16, 17, 31, 32, 33, 100}) {
    for (size_t at = 0; at < size; ++at) {
      std::vector<float> logits(size, -2.0f);
      logits[at] = -1.0f;
      if (at + 1 < size) logits[size - 1] = -1.0f;
      EXPECT_EQ(NextToken(greedy, logits), static_cast<int32_t>(at)) << size;
    }
  }
}

TEST(Sampler, TinyTemperatureIsGreedy) {
  SamplingOptions options;
  options.temperature = 1e-300;
  EXPECT_EQ(NextToken(options, kLogits), 1);
}

TEST(Sampler, DrawsTheSoftmax) {
  for (const double temperature : {0.5, 1.0, 2.0}) {
    SamplingOptions options;
    options.temperature = temperature;
    ExpectDistribution(Counts(options, kLogits, 20000), Softmax(kLogits, temperature, kAll));
  }
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  SamplingOptions options;
  options.top_k = 3;
  ExpectDistribution(Counts(options, kLogits, 20000),
                     Softmax(kLogits, 1, {false, true, false, true, false, false, false, true}));
  options.top_k = 100;
  ExpectDistribution(Counts(options, kLogits, 20000), Softmax(kLogits, 1, kAll));
}

TEST(Sampler, TopKTiesGoToTheLowerId) {
  SamplingOptions options;
  options.top_k = 2;
  ExpectDistribution(Counts(options, {1, 1, 1, 1}, 5000), {0.5, 0.5, 0, 0});
}

TEST(Sampler, TopPKeepsTheTokenThatCrossesTheBorder) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  SamplingOptions options;
  options.top_p = 0.79;
  ExpectDistribution(Counts(options, logits, 20000), {0.625, 0.375, 0, 0});
  options.top_p = 0.81;
  ExpectDistribution(Counts(options, logits, 20000), {0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0});
  options.top_p = 1e-9;
  ExpectDistribution(Counts(options, logits, 100), {1, 0, 0, 0});
}

TEST(Sampler, TopPComesAfterTopKAndTemperature) {
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  SamplingOptions options;
  options.top_k = 2;     // leaves 4/7 = 0.571 and 3/7
  options.top_p = 0.55;  // of the two: the first alone; of all four it would keep two
  ExpectDistribution(Counts(options, logits, 1000), {1, 0, 0, 0});
  options.temperature = 2;  // leaves 0.536 and 0.464: now both are needed
  ExpectDistribution(Counts(options, logits, 20000), Softmax(logits, 2, {true, true, false, false}));
}

TEST(Sampler, TopPOfALargeVocabularyIsTheSortedNucleus) {
  std::mt19937 engine(3);
  std::vector<float> logits(5000);
  for (float& l : logits) l = static_cast<float>(engine() % 10000) * 1e-3f;
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  const std::vector<double> p = Softmax(logits, 1, std::vector<bool>(logits.size(), true));
  double reached = 0;
  std::map<int32_t, bool> nucleus;
  for (const int32_t token : order) {
    nucleus[token] = true;
    reached += p[static_cast<size_t>(token)];
    if (reached >= 0.6) break;
  }
  ASSERT_GT(nucleus.size(), 300u);  // past the first rounds of partial sorting
  SamplingOptions options;
  options.top_p = 0.6;
  Sampler sampler(options, 5, {});
  std::map<int32_t, bool> drawn;
  for (int i = 0; i < 3000; ++i) drawn[*sampler.Next(logits)] = true;
  for (const auto& [token, unused] : drawn) EXPECT_TRUE(nucleus.count(token)) << token;
  EXPECT_GT(drawn.size(), nucleus.size() / 2);
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  SamplingOptions options;
  options.min_p = 0.25;  // at least 0.125
  ExpectDistribution(Counts(options, logits, 20000), {0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0});
  options.min_p = 1;
  ExpectDistribution(Counts(options, logits, 100), {1, 0, 0, 0});
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogitsOnce) {
  SamplingOptions options;
  options.temperature = 0;
  options.repetition_penalty = 2;
  // The prompt counts, and an occurrence more changes nothing: 4 / 2 = 2 stays above 1.9.
  EXPECT_EQ(NextToken(options, {4, 1.9f}, 1, {0, 0, 0}), 0);
  EXPECT_EQ(NextToken(options, {4, 2.1f}, 1, {0}), 1);
  EXPECT_EQ(NextToken(options, {-1, -1.9f}, 1, {0}), 1);
  EXPECT_EQ(NextToken(options, {-1, -2.1f}, 1, {0}), 0);
}

TEST(Sampler, PresenceAndFrequencyCountTheOutputOnly) {
  SamplingOptions options;
  options.temperature = 0;
  options.presence_penalty = 1;
  const std::vector<float> logits = {3, 2.5f, 0};
  {
    Sampler sampler(options, 1, std::vector<int32_t>{0, 0, 0});
    EXPECT_EQ(*sampler.Next(logits), 0);  // the prompt is no output
    EXPECT_EQ(*sampler.Next(logits), 1);
    EXPECT_EQ(*sampler.Next(logits), 0);  // both were seen: 2 against 1.5, and once is as bad as twice
    EXPECT_EQ(*sampler.Next(logits), 0);
  }
  options.presence_penalty = 0;
  options.frequency_penalty = 1;
  Sampler sampler(options, 1, {});
  std::vector<int32_t> drawn;
  for (int i = 0; i < 6; ++i) drawn.push_back(*sampler.Next(logits));
  EXPECT_EQ(drawn, (std::vector<int32_t>{0, 1, 0, 1, 0, 1}));  // 3 2.5 | 2 2.5 | 2 1.5 | 1 1.5 | 1 .5 | 0 .5
}

TEST(Sampler, LogitBiasForcesAndForbids) {
  SamplingOptions options;
  options.logit_bias = {{2, 100}, {1, -kInfinity}};
  ExpectDistribution(Counts(options, kLogits, 100), {0, 0, 1, 0, 0, 0, 0, 0});
  options.logit_bias = {{1, -kInfinity}};
  std::vector<bool> kept = kAll;
  kept[1] = false;
  ExpectDistribution(Counts(options, kLogits, 20000), Softmax(kLogits, 1, kept));
}

TEST(Sampler, SameSeedSameTokens) {
  SamplingOptions options;
  const auto draw = [&](uint64_t seed) {
    Sampler sampler(options, seed, {});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(*sampler.Next(kLogits));
    return tokens;
  };
  EXPECT_EQ(draw(42), draw(42));
  EXPECT_NE(draw(42), draw(43));
}

TEST(Sampler, AGuessFromTheSameLogitsIsWhatComesAndChangesNothing) {
  SamplingOptions options;
  options.top_p = 0.95;
  options.repetition_penalty = 1.2;
  options.frequency_penalty = 0.7;
  options.presence_penalty = 0.3;
  options.logit_bias = {{3, 0.5}};
  const std::vector<int32_t> prompt = {1, 1, 5};
  Sampler guessing(options, 9, prompt), plain(options, 9, prompt);
  for (int round = 0; round < 50; ++round) {
    std::vector<int32_t> guesses;
    for (int i = 0; i < 3; ++i) guesses.push_back(guessing.Guess(kLogits, guesses));
    EXPECT_EQ(guessing.Guess(std::vector<float>{NAN, 1}, guesses), -1);
    for (const int32_t guess : guesses) {
      EXPECT_EQ(*guessing.Next(kLogits), guess);
      EXPECT_EQ(*plain.Next(kLogits), guess);
    }
  }
}

TEST(Sampler, AGuessFromLikeLogitsIsMostlyRight) {
  std::vector<float> like = kLogits;
  for (size_t i = 0; i < like.size(); ++i) like[i] += i % 2 == 0 ? 0.2f : -0.2f;
  const std::vector<double> p = Softmax(kLogits, 1, kAll), q = Softmax(like, 1, kAll);
  double distance = 0;
  for (size_t i = 0; i < p.size(); ++i) distance += std::abs(p[i] - q[i]) / 2;
  Sampler sampler({}, 21, {});
  int num_right = 0;
  const int num_draws = 20000;
  for (int i = 0; i < num_draws; ++i) {
    const int32_t guess = sampler.Guess(like, {});
    num_right += *sampler.Next(kLogits) == guess ? 1 : 0;
  }
  // The bound of arXiv 2408.07978, less five standard deviations of the count.
  const double least = (1 - distance) / (1 + distance);
  EXPECT_GT(num_right, num_draws * least - 5 * std::sqrt(num_draws * least * (1 - least)));
}

TEST(Sampler, BrokenLogitsAreAnError) {
  for (const double temperature : {0.0, 1.0}) {
    SamplingOptions options;
    options.temperature = temperature;
    Sampler sampler(options, 1, {});
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    EXPECT_EQ(sampler.Next(std::vector<float>{0, nan}).message(),
              "logits: expected finite numbers, found nan for token 1");
    EXPECT_FALSE(sampler.Next(std::vector<float>{inf, 0}).ok());
    EXPECT_FALSE(sampler.Next(std::vector<float>{-inf, -inf}).ok());
    EXPECT_FALSE(sampler.Next({}).ok());
    EXPECT_EQ(*sampler.Next(std::vector<float>{-inf, 0}), 1);
  }
}

// Allows fixed tokens at each place of the output.
class ListConstraint final : public TokenConstraint {
 public:
  explicit ListConstraint(std::vector<std::vector<int32_t>> lists) : lists_(std::move(lists)) {}
  void Allowed(std::span<uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0u);
    for (const int32_t token : lists_.at(accepted.size()))
      mask[static_cast<size_t>(token) / 32] |= 1u << token % 32;
  }
  bool Accept(int32_t token) override {
    accepted.push_back(token);
    return token != refused;
  }

  std::vector<int32_t> accepted;
  int32_t refused = -1;

 private:
  std::vector<std::vector<int32_t>> lists_;
};

TEST(Sampler, AConstraintLeavesTheDistributionOfWhatItAllows) {
  const std::vector<std::vector<int32_t>> lists(20000, {0, 3, 7});
  SamplingOptions options;
  const auto constraint = std::make_shared<ListConstraint>(lists);
  Sampler sampler(options, 4, {}, constraint);
  std::vector<int64_t> counts(kLogits.size());
  for (size_t i = 0; i < lists.size(); ++i) ++counts[static_cast<size_t>(*sampler.Next(kLogits))];
  std::vector<bool> kept(kLogits.size());
  for (const size_t token : {0, 3, 7}) kept[token] = true;
  ExpectDistribution(counts, Softmax(kLogits, 1, kept));
  EXPECT_EQ(constraint->accepted.size(), lists.size());
}

TEST(Sampler, AConstraintComesBeforeEveryOtherStep) {
  SamplingOptions options;
  options.temperature = 0;
  options.logit_bias = {{1, 100}};  // cannot bring back what may not come
  Sampler biased(options, 1, {},
                 std::make_shared<ListConstraint>(std::vector<std::vector<int32_t>>{{2, 4}, {1, 4}}));
  EXPECT_EQ(*biased.Next(kLogits), 4);
  EXPECT_EQ(*biased.Next(kLogits), 1);
  options = {};
  options.top_k = 1;  // of what may come
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Sampler sampler(options, seed, {},
                    std::make_shared<ListConstraint>(std::vector<std::vector<int32_t>>{{2, 4, 6}}));
    EXPECT_EQ(*sampler.Next(kLogits), 6);
  }
}

TEST(Sampler, AConstraintThatAllowsNothingIsAnError) {
  const auto constraint = std::make_shared<ListConstraint>(std::vector<std::vector<int32_t>>{{1}, {}});
  Sampler sampler({}, 1, {}, constraint);
  EXPECT_EQ(*sampler.Next(kLogits), 1);
  EXPECT_EQ(sampler.Next(kLogits).message(), "constraint: no token of 8 may follow 1 tokens of output");
  // What lies outside the vocabulary does not count.
  Sampler outside({}, 1, {}, std::make_shared<ListConstraint>(std::vector<std::vector<int32_t>>{{9, 31}}));
  EXPECT_FALSE(outside.Next(kLogits).ok());
  const auto lying = std::make_shared<ListConstraint>(std::vector<std::vector<int32_t>>{{1}});
  lying->refused = 1;
  EXPECT_FALSE(Sampler({}, 1, {}, lying).Next(kLogits).ok());
}

TEST(Sampler, AGuessUnderAConstraintIsWhatComesAndTellsItNothing) {
  const std::vector<std::vector<int32_t>> lists(60, {0, 2, 4, 6});
  const auto constraint = std::make_shared<ListConstraint>(lists);
  Sampler guessing({}, 3, {}, constraint), plain({}, 3, {}, std::make_shared<ListConstraint>(lists));
  for (size_t i = 0; i < lists.size(); ++i) {
    const int32_t guess = guessing.Guess(kLogits, {});
    EXPECT_GE(guessing.Guess(kLogits, std::vector<int32_t>{guess}), 0);
    EXPECT_EQ(constraint->accepted.size(), i);
    EXPECT_EQ(*guessing.Next(kLogits), guess);
    EXPECT_EQ(*plain.Next(kLogits), guess);
  }
}

TEST(ValidateSampling, RefusesWhatIsOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(ValidateSampling({}, 8).ok());
  const auto refused = [](auto change) {
    SamplingOptions options;
    change(options);
    return !ValidateSampling(options, 8).ok();
  };
  EXPECT_TRUE(refused([](auto& o) { o.temperature = -0.1; }));
  EXPECT_TRUE(refused([&](auto& o) { o.temperature = nan; }));
  EXPECT_TRUE(refused([](auto& o) { o.temperature = kInfinity; }));
  EXPECT_TRUE(refused([](auto& o) { o.top_k = -1; }));
  EXPECT_TRUE(refused([](auto& o) { o.top_p = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.top_p = 1.1; }));
  EXPECT_TRUE(refused([&](auto& o) { o.top_p = nan; }));
  EXPECT_TRUE(refused([](auto& o) { o.min_p = 1.1; }));
  EXPECT_TRUE(refused([](auto& o) { o.repetition_penalty = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.presence_penalty = 2.1; }));
  EXPECT_TRUE(refused([&](auto& o) { o.frequency_penalty = nan; }));
  EXPECT_TRUE(refused([](auto& o) { o.logit_bias = {{8, 1}}; }));
  EXPECT_TRUE(refused([](auto& o) { o.logit_bias = {{-1, 1}}; }));
  EXPECT_TRUE(refused([&](auto& o) { o.logit_bias = {{1, nan}}; }));
}

TEST(Logprobs, AreTheLogSoftmax) {
  const TokenLogprobs result = LogprobsOf(kLogits, 4, 3);
  const std::vector<double> p = Softmax(kLogits, 1, kAll);
  EXPECT_EQ(result.chosen.token, 4);
  EXPECT_NEAR(result.chosen.logprob, std::log(p[4]), 1e-6);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].token, 1);
  EXPECT_EQ(result.top[1].token, 7);
  EXPECT_EQ(result.top[2].token, 3);
  for (const TokenLogprob& t : result.top)
    EXPECT_NEAR(t.logprob, std::log(p[static_cast<size_t>(t.token)]), 1e-6);
  EXPECT_TRUE(LogprobsOf(kLogits, 0, 0).top.empty());
  EXPECT_EQ(LogprobsOf(kLogits, 0, 100).top.size(), kLogits.size());
}

}  // namespace
}  // namespace deepshock
