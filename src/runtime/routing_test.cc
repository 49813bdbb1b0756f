// SPDX-License-Identifier: Apache-2.0
// Which rows count, whatever the scheduler does with them; and what requests may ask of the routers.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "experts/routing_counters.h"
#include "runtime/request_routing.h"
#include "runtime/scheduler.h"
#include "runtime/test_model.h"

namespace deepshock {
namespace {

struct Row {
  int64_t position;
  int32_t token;
  RoutingPhase phase;
  std::vector<int32_t> experts;  // of both layers
  auto operator<=>(const Row&) const = default;
};

class RowCollector final : public RoutingSink {
 public:
  void OnStep(const RoutingStep& step) override {
    EXPECT_GT(step.number, last_number_);
    last_number_ = step.number;
    EXPECT_FALSE(step.rows.empty());
    for (const RoutedRow& row : step.rows) {
      EXPECT_LT(row.row, step.num_pass_rows);
      Row found{row.position, row.token, row.phase, {}};
      for (const LayerRouting& layer : step.layers) {
        const auto experts = step.Experts(layer, row);
        found.experts.insert(found.experts.end(), experts.begin(), experts.end());
      }
      rows[row.request].push_back(std::move(found));
    }
  }
  std::map<uint64_t, std::vector<Row>> rows;

 private:
  uint64_t last_number_ = 0;
};

std::vector<Row> Rows(const std::vector<int32_t>& tokens, size_t begin, size_t end, size_t num_prompt) {
  std::vector<Row> rows;
  for (size_t p = begin; p < end; ++p) {
    const auto position = static_cast<int64_t>(p);
    Row row{position, tokens[p], p < num_prompt ? RoutingPhase::kPrefill : RoutingPhase::kDecode, {}};
    for (const int layer : {1, 2}) {
      const auto experts = FakeModel::Experts(layer, tokens[p], position);
      row.experts.insert(row.experts.end(), experts.begin(), experts.end());
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Drafts what will follow, and now and then something else.
class OracleDrafts final : public DraftSource {
 public:
  explicit OracleDrafts(std::vector<std::vector<int32_t>> sequences) : sequences_(std::move(sequences)) {}
  Status Draft(std::span<DraftRequest> requests) override {
    for (DraftRequest& request : requests) {
      for (const std::vector<int32_t>& known : sequences_) {
        const size_t n = request.tokens.size();
        if (n >= known.size() || !std::equal(request.tokens.begin(), request.tokens.end(), known.begin()))
          continue;
        for (size_t i = n; i < known.size() && i < n + static_cast<size_t>(request.max_drafts); ++i)
          request.drafts->push_back(random_() % 4 == 0 ? (known[i] + 1) % 26 : known[i]);
        break;
      }
    }
    return {};
  }

 private:
  std::vector<std::vector<int32_t>> sequences_;
  std::mt19937 random_{7};
};

class RoutingTest : public testing::Test {
 protected:
  static GenerationRequest Request(std::vector<int32_t> prompt, int64_t max_tokens) {
    GenerationRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    return request;
  }
  GenerationResult Run(Scheduler& scheduler, GenerationRequest request) {
    GenerationResult result;
    request.on_done = [&](GenerationResult done) { result = std::move(done); };
    scheduler.Submit(std::move(request));
    while (scheduler.Step()) {
    }
    return result;
  }
  GenerationResult RunAlone(GenerationRequest request) {
    Scheduler scheduler(model_, &tokenizer_, {1, 8, {kEos}});
    return Run(scheduler, std::move(request));
  }
  FakeModel model_;
  LetterTokenizer tokenizer_;
};

TEST_F(RoutingTest, EveryTokenThatStaysCountsOnceHoweverItIsComputed) {
  std::mt19937 random(3);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 30; ++i) {
    std::vector<int32_t> prompt(1 + random() % 30);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % 26);
    requests.push_back(Request(prompt, 1 + static_cast<int64_t>(random() % 20)));
    if (i % 5 == 0) requests.back().stop = {"q"};
  }
  std::vector<std::vector<int32_t>> whole(requests.size());
  const auto run = [&](int batch_size, int chunk, DraftSources drafts, int64_t* num_drafted) {
    RowCollector collector;
    RoutingCounters counters(model_.routing_shape());
    Scheduler scheduler(model_, &tokenizer_, {batch_size, chunk, {kEos}, 3, false}, std::move(drafts));
    scheduler.AddRoutingSink(&collector);
    scheduler.AddRoutingSink(&counters);
    std::vector<uint64_t> ids;
    for (size_t i = 0; i < requests.size(); ++i) {
      GenerationRequest request = requests[i];
      request.on_done = [&, i](const GenerationResult& result) {
        *num_drafted += result.drafted_tokens - result.accepted_tokens;
        whole[i] = requests[i].prompt;
        whole[i].insert(whole[i].end(), result.tokens.begin(), result.tokens.end());
      };
      ids.push_back(scheduler.Submit(std::move(request)));
    }
    while (scheduler.Step()) {
    }
    int64_t num_rows = 0;
    std::map<std::tuple<int, RoutingPhase, int32_t>, int64_t> loads;
    for (size_t i = 0; i < requests.size(); ++i) {
      // The last token is drawn, and nothing is computed from it.
      const auto expected = Rows(whole[i], 0, whole[i].size() - 1, requests[i].prompt.size());
      EXPECT_EQ(collector.rows[ids[i]], expected) << "request " << i << ", batch of " << batch_size;
      num_rows += static_cast<int64_t>(expected.size());
      for (const Row& row : expected) {
        for (size_t e = 0; e < row.experts.size(); ++e) ++loads[{e < 2 ? 1 : 2, row.phase, row.experts[e]}];
      }
    }
    const RoutingSnapshot snapshot = counters.Snapshot();
    EXPECT_EQ(snapshot.tokens(), num_rows);
    EXPECT_EQ(snapshot.selections, num_rows * 4);
    for (const RoutingSnapshot::Layer& layer : snapshot.layers) {
      for (int32_t e = 0; e < 8; ++e) {
        EXPECT_EQ(layer.prefill[static_cast<size_t>(e)], (loads[{layer.layer, RoutingPhase::kPrefill, e}]));
        EXPECT_EQ(layer.decode[static_cast<size_t>(e)], (loads[{layer.layer, RoutingPhase::kDecode, e}]));
      }
    }
  };
  int64_t num_wrong = 0;
  for (const auto& [batch_size, chunk] : std::vector<std::pair<int, int>>{{1, 512}, {1, 3}, {5, 8}, {32, 1}})
    run(batch_size, chunk, {}, &num_wrong);
  EXPECT_EQ(num_wrong, 0);
  for (const int batch_size : {1, 4, 32}) {
    DraftSources drafts;
    drafts.push_back(std::make_unique<OracleDrafts>(whole));
    run(batch_size, 8, std::move(drafts), &num_wrong);
  }
  EXPECT_GT(num_wrong, 50);  // drafts that were rejected, and did not count
}

TEST_F(RoutingTest, WhatASessionStillHoldsDoesNotCountAgain) {
  model_.ends = false;
  Scheduler scheduler(model_, &tokenizer_, {1, 8, {kEos}});
  RowCollector collector;
  scheduler.AddRoutingSink(&collector);
  SequenceState session(model_.state_spec(), kContext);
  const auto ask = [&](std::vector<int32_t> prompt) {
    GenerationRequest request = Request(std::move(prompt), 3);
    request.session = &session;
    return Run(scheduler, std::move(request));
  };
  const std::vector<int32_t> first = {1, 2, 3, 4};
  const GenerationResult one = ask(first);
  EXPECT_EQ(collector.rows[1].size(), 6u);
  // The whole conversation and more: the answer's last token is new to the model, and so is what follows.
  std::vector<int32_t> second = first;
  second.insert(second.end(), one.tokens.begin(), one.tokens.end());
  second.push_back(9);
  const GenerationResult two = ask(second);
  std::vector<int32_t> tokens = second;
  tokens.insert(tokens.end(), two.tokens.begin(), two.tokens.end());
  EXPECT_EQ(collector.rows[2], Rows(tokens, 6, tokens.size() - 1, second.size()));
  // A prompt that the state holds whole: its last token is computed again for its logits, and does not count.
  const GenerationResult three = ask(second);
  EXPECT_EQ(three.tokens, two.tokens);
  EXPECT_EQ(collector.rows[3], Rows(tokens, second.size(), tokens.size() - 1, second.size()));
  // Another control is another state: all is computed anew, and counts.
  GenerationRequest steered = Request(second, 3);
  steered.session = &session;
  steered.routing.experts_per_token = 1;
  EXPECT_EQ(Run(scheduler, std::move(steered)).cached_prompt_tokens, 0);
  EXPECT_EQ(collector.rows[4].size(), second.size() + 2);
}

TEST_F(RoutingTest, NothingIsObservedWhenNobodyListens) {
  class Watched final : public TokenModel {
   public:
    Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                   ForwardOutput* output) override {
      num_observed += observer != nullptr;
      return inner.Forward(chunks, observer, output);
    }
    StateSpec state_spec() const override { return inner.state_spec(); }
    int64_t vocab_size() const override { return inner.vocab_size(); }
    int64_t context_length() const override { return inner.context_length(); }
    RoutingShape routing_shape() const override { return inner.routing_shape(); }
    FakeModel inner;
    int num_observed = 0;
  } model;
  Scheduler scheduler(model, nullptr, {1, 8, {kEos}});
  (void)Run(scheduler, Request({1, 2, 3}, 4));
  EXPECT_EQ(model.num_observed, 0);
  RowCollector collector;
  scheduler.AddRoutingSink(&collector);
  (void)Run(scheduler, Request({1, 2, 3}, 4));
  EXPECT_GT(model.num_observed, 0);
  scheduler.RemoveRoutingSink(&collector);
  model.num_observed = 0;
  (void)Run(scheduler, Request({1, 2, 3}, 4));
  EXPECT_EQ(model.num_observed, 0);
}

TEST_F(RoutingTest, AnAuditSpeaksOfTheTokensThatCount) {
  model_.ends = false;
  GenerationRequest request = Request({1, 2, 3}, 5);
  request.routing.rules = {{ExpertRule::Kind::kBias, "1:0-3", 0.5}};
  const GenerationResult result = RunAlone(request);
  ASSERT_TRUE(result.status.ok()) << result.status.message();
  ASSERT_TRUE(result.routing.has_value());
  EXPECT_FALSE(result.experts.has_value());
  EXPECT_EQ(result.routing->asked.rules.size(), 1u);
  EXPECT_EQ(result.routing->tokens, 7);
  EXPECT_EQ(result.routing->selections, 7 * 2 * 2);
  ASSERT_EQ(result.routing->layers.size(), 2u);
  EXPECT_EQ(result.routing->layers[0].layer, 1);
  EXPECT_EQ(result.routing->layers[0].changed, 7);  // as the fake model says
  EXPECT_FALSE(RunAlone(Request({1, 2, 3}, 5)).routing.has_value());
}

TEST_F(RoutingTest, AnExplanationHasTheTokensOfTheAnswer) {
  model_.ends = false;
  GroupMasks groups(model_.routing_shape());
  ASSERT_TRUE(groups.Add("low", std::vector<ExpertId>{{1, 0}, {1, 1}, {1, 2}, {1, 3}}).ok());
  ASSERT_TRUE(groups.Add("all", *ParseExperts("*:*", groups)).ok());
  for (const bool speculate : {false, true}) {
    GenerationRequest request = Request({1, 2, 3}, 6);
    request.routing.explain = true;
    DraftSources drafts;
    const GenerationResult plain = RunAlone(Request({1, 2, 3}, 6));
    std::vector<int32_t> whole = {1, 2, 3};
    whole.insert(whole.end(), plain.tokens.begin(), plain.tokens.end());
    if (speculate) drafts.push_back(std::make_unique<OracleDrafts>(std::vector<std::vector<int32_t>>{whole}));
    SchedulerOptions options{1, 8, {kEos}, 3, false};
    options.groups = std::make_shared<GroupMasks>(groups);
    Scheduler scheduler(model_, nullptr, options, std::move(drafts));
    const GenerationResult result = Run(scheduler, request);
    EXPECT_EQ(result.tokens, plain.tokens);
    EXPECT_FALSE(result.routing.has_value());
    ASSERT_TRUE(result.experts.has_value());
    const AnswerExperts& answer = *result.experts;
    ASSERT_EQ(answer.tokens.size(), result.tokens.size());
    EXPECT_EQ(answer.groups, (std::vector<std::string>{"low", "all"}));
    EXPECT_NEAR(answer.group_shares[1], 1, 1e-6);
    EXPECT_EQ(answer.ungrouped_share, 0);
    double sum = 0, low = 0;
    for (const AnswerExperts::Expert& expert : answer.experts) sum += expert.share;
    EXPECT_NEAR(sum, 1, 1e-6);
    for (size_t i = 0; i < answer.tokens.size(); ++i) {
      // Token i was drawn from the row before it.
      const size_t p = 2 + i;
      double expected = 0;
      for (const int32_t e : FakeModel::Experts(1, whole[p], static_cast<int64_t>(p)))
        expected += e < 4 ? 0.25 : 0;
      EXPECT_NEAR(answer.tokens[i].group_shares[0], expected, 1e-6) << i;
      EXPECT_EQ(answer.tokens[i].experts.size(), 4u);
      low += expected;
    }
    EXPECT_NEAR(answer.group_shares[0], low / 6, 1e-6);
  }
}

TEST_F(RoutingTest, NamesOfExperts) {
  GroupMasks groups(RoutingShape{8, 2, {1, 2, 4}});
  const auto experts = [&](const char* text) {
    const auto parsed = ParseExperts(text, groups);
    std::string list;
    if (!parsed.ok()) return "error: " + parsed.message();
    for (const ExpertId& id : *parsed) list += fmt::format("{}:{} ", id.layer, id.expert);
    return list;
  };
  EXPECT_EQ(experts("1:7"), "1:7 ");
  EXPECT_EQ(experts("2-4:0-1"), "2:0 2:1 4:0 4:1 ");
  EXPECT_EQ(experts("*:3"), "1:3 2:3 4:3 ");
  ASSERT_TRUE(groups.Add("code", std::vector<ExpertId>{{4, 2}, {1, 7}, {5, 1}}).ok());  // 5: an MTP layer's
  EXPECT_EQ(experts("code"), "1:7 4:2 ");
  EXPECT_EQ(experts("coda"), "error: no expert group is named \"coda\"; known groups: code");
  EXPECT_EQ(experts("1:8"), "error: experts \"1:8\": expected experts 0 to 7, found 8");
  EXPECT_EQ(experts("3:1"), "error: experts \"3:1\": expected layers with experts, 1 to 4, found 3");
  EXPECT_EQ(experts("2-9:1"), "error: experts \"2-9:1\": expected layers with experts, 1 to 4, found 9");
  for (const char* bad : {":", "1:", ":1", "1:2:3", "3-1:0", "1:-2", "1:2-", "99999999999:1", "1: 2"})
    EXPECT_NE(experts(bad).find("expected a group's name or LAYER:EXPERT"), std::string::npos) << bad;
  EXPECT_FALSE(groups.Add("code", {}).ok());
  EXPECT_FALSE(groups.Add("other", std::vector<ExpertId>{{3, 0}}).ok());
  EXPECT_FALSE(groups.Add("other", std::vector<ExpertId>{{1, 8}}).ok());
}

TEST_F(RoutingTest, WhatCannotBeIsRefused) {
  const auto error = [&](const RoutingOptions& options) {
    GenerationRequest request = Request({1, 2, 3}, 5);
    request.routing = options;
    const GenerationResult result = RunAlone(request);
    EXPECT_EQ(result.finish_reason, FinishReason::kError);
    return result.status.message();
  };
  RoutingOptions options;
  options.rules = {{ExpertRule::Kind::kBan, "2:1-7", 0}};
  EXPECT_EQ(error(options),
            "bans: expected at least 2 experts left in layer 2, one for each that a token takes, found 1");
  options.rules.push_back({ExpertRule::Kind::kBias, "2:3", 5});  // a ban stays one
  EXPECT_NE(error(options).find("found 1"), std::string::npos);
  options.experts_per_token = 1;
  GenerationRequest request = Request({1, 2, 3}, 5);
  request.routing = options;
  EXPECT_TRUE(RunAlone(request).status.ok());
  EXPECT_EQ(error({.experts_per_token = 3}),
            "experts_per_token: expected 1 to 2, as the model has it, found 3");
  EXPECT_EQ(error({.adaptive_experts = 0}),
            "adaptive_experts: expected a share above 0 and up to 1, found 0");
  EXPECT_EQ(error({.adaptive_experts = 0.5, .min_experts = 3}), "min_experts: expected 1 to 2, found 3");
  EXPECT_EQ(error({.rules = {{ExpertRule::Kind::kBoost, "1:1", 0}}}),
            "boost of 1:1: expected a factor of 1e-06 to 1000000, found 0");
  EXPECT_EQ(error({.rules = {{ExpertRule::Kind::kBias, "1:1", std::nan("")}}}),
            "bias of 1:1: expected -10000 to 10000, found nan");
  EXPECT_EQ(error({.rules = {{ExpertRule::Kind::kBan, "code_expert", 0}}}),
            "no expert group is named \"code_expert\"; known groups: none");
}

}  // namespace
}  // namespace deepshock
