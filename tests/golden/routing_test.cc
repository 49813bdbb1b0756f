// SPDX-License-Identifier: Apache-2.0
// Routing on a real model: counters equal a dumped trace token for token however tokens are computed, with
// and without speculation; requests that steer their experts leave those beside them alone.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/file_test_dir.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "experts/routing_counters.h"
#include "experts/trace.h"
#include "runtime/evaluate.h"
#include "runtime/request_routing.h"
#include "runtime/scheduler.h"
#include "tests/support/reference_data.h"

namespace deepshock {
namespace {

// What docs/routing.md recommends, and what it saves at least.
constexpr double kRecommendedAdaptiveExperts = 0.875, kRecommendedSaving = 0.08;

struct Config {
  int batch_size = 1;
  int chunk = 512;
  Speculation speculation = Speculation::kOff;
};

using Place = std::pair<uint64_t, int64_t>;  // request, position
struct Routed {
  int32_t token;
  RoutingPhase phase;
  std::vector<int32_t> experts;  // of all layers
  bool operator==(const Routed&) const = default;
};

class Rows final : public RoutingSink {
 public:
  void OnStep(const RoutingStep& step) override {
    for (const RoutedRow& row : step.rows) {
      Routed routed{row.token, row.phase, {}};
      for (const LayerRouting& layer : step.layers) {
        const auto experts = step.Experts(layer, row);
        routed.experts.insert(routed.experts.end(), experts.begin(), experts.end());
      }
      EXPECT_TRUE(rows.emplace(Place{row.request, row.position}, std::move(routed)).second)
          << "counted twice";
    }
  }
  std::map<Place, Routed> rows;
};

void ExpectSameCounts(const RoutingSnapshot& a, const RoutingSnapshot& b) {
  EXPECT_EQ(a.prefill_tokens, b.prefill_tokens);
  EXPECT_EQ(a.decode_tokens, b.decode_tokens);
  EXPECT_EQ(a.selections, b.selections);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t l = 0; l < a.layers.size(); ++l) {
    EXPECT_EQ(a.layers[l].prefill, b.layers[l].prefill);
    EXPECT_EQ(a.layers[l].decode, b.layers[l].decode);
  }
  ASSERT_EQ(a.groups.size(), b.groups.size());
  for (size_t g = 0; g < a.groups.size(); ++g) EXPECT_EQ(a.groups[g].selections, b.groups[g].selections);
}

class RoutingOnTinyMoe : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Model::Load(std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf", {true, &pool_});
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = std::move(*loaded);
    token_model_.emplace(*model_, compute_, model_->spec().context_length, KvType::kQ16);
    const Result<Json> cases = ReadJsonFile(SharedData("models/tiny-moe/reference/generate.json"), 64 << 20);
    if (!cases.ok()) GTEST_SKIP() << "the tiny-moe reference is absent";
    for (const Json& c : *cases) prompts_.push_back(c["ids"].get<std::vector<int32_t>>());
    prompts_.resize(8);
    auto groups = std::make_shared<GroupMasks>(token_model_->routing_shape());
    ASSERT_TRUE(groups->Add("low", *ParseExperts("*:0-7", *groups)).ok());
    ASSERT_TRUE(groups->Add("even", *ParseExperts("2-4:8-31", *groups)).ok());
    groups_ = groups;
  }

  // `control(i)`: of request i.
  std::vector<GenerationResult> Generate(const Config& config, const std::vector<RoutingSink*>& sinks,
                                         const std::function<RoutingOptions(size_t)>& control = {}) {
    std::vector<GenerationResult> results(prompts_.size());
    SchedulerOptions options{config.batch_size, config.chunk, model_->spec().eos_tokens, 3, false};
    options.groups = groups_;
    auto sources = MakeDraftSources(config.speculation, *token_model_);
    EXPECT_TRUE(sources.ok()) << sources.message();
    Scheduler scheduler(*token_model_, nullptr, options, std::move(*sources));
    for (RoutingSink* sink : sinks) scheduler.AddRoutingSink(sink);
    for (size_t i = 0; i < prompts_.size(); ++i) {
      GenerationRequest request;
      request.prompt = prompts_[i];
      request.max_tokens = 32;
      request.sampling.temperature = 0;
      request.num_logprobs = 0;
      if (control) request.routing = control(i);
      request.on_done = [&results, i](GenerationResult result) {
        EXPECT_TRUE(result.status.ok()) << result.status.message();
        results[i] = std::move(result);
      };
      scheduler.Submit(std::move(request));
    }
    while (scheduler.Step()) {
    }
    return results;
  }

  ThreadPool pool_{2};
  Compute compute_{BestKernels(), pool_};
  std::unique_ptr<Model> model_;
  std::optional<LoadedModel> token_model_;
  std::vector<std::vector<int32_t>> prompts_;
  std::shared_ptr<const GroupMasks> groups_;
  FileTestDir dir_;
};

TEST_F(RoutingOnTinyMoe, CountersEqualADumpedTraceTokenForToken) {
  std::map<Place, Routed> reference;
  const RoutingShape shape = token_model_->routing_shape();
  for (const Config& config : {Config{1, 512, Speculation::kOff}, Config{8, 512, Speculation::kOff},
                               Config{1, 512, Speculation::kMtp}, Config{8, 512, Speculation::kMtp},
                               Config{3, 512, Speculation::kNgram}, Config{3, 5, Speculation::kMtp}}) {
    SCOPED_TRACE(testing::Message() << "batch " << config.batch_size << " chunk " << config.chunk
                                    << " speculation " << static_cast<int>(config.speculation));
    Rows live;
    RoutingCounters counters(shape, groups_);
    auto trace = TraceWriter::Create(dir_.File("t"), {"tiny-moe", "", shape}, {});
    ASSERT_TRUE(trace.ok()) << trace.message();
    const auto results = Generate(config, {&live, &counters, trace->get()});
    ASSERT_TRUE((*trace)->Close().ok());

    const auto reader = TraceReader::Open(dir_.File("t"));
    ASSERT_TRUE(reader.ok()) << reader.message();
    RoutingCounters counted_again(shape, groups_);
    ASSERT_TRUE((*reader)->Replay(counted_again).ok());
    EXPECT_TRUE((*reader)->complete());
    ExpectSameCounts(counters.Snapshot(), counted_again.Snapshot());
    Rows dumped;
    ASSERT_TRUE((*TraceReader::Open(dir_.File("t")))->Replay(dumped).ok());
    EXPECT_EQ(dumped.rows, live.rows);

    // Every token of prompt and answer but the last, which nothing was computed from.
    size_t num_rows = 0;
    int64_t num_rejected = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      num_rows += prompts_[i].size() + results[i].tokens.size() - 1;
      num_rejected += results[i].drafted_tokens - results[i].accepted_tokens;
    }
    EXPECT_EQ(live.rows.size(), num_rows);
    EXPECT_EQ(counters.Snapshot().tokens(), static_cast<int64_t>(num_rows));
    EXPECT_EQ(num_rejected > 0, config.speculation != Speculation::kOff);
    if (reference.empty()) reference = live.rows;
    if (config.chunk == 512) {
      EXPECT_EQ(live.rows, reference);
    } else {  // other chunks round otherwise: the same tokens, and experts but for a few near ties
      size_t num_other = 0;
      for (const auto& [place, routed] : reference)
        num_other += live.rows.at(place).experts != routed.experts;
      EXPECT_LT(num_other, reference.size() / 10);
    }
  }
}

TEST_F(RoutingOnTinyMoe, RequestsBesideSteeredOnesStayAsTheyAre) {
  const Config config{8, 512, Speculation::kOff};
  Rows before;
  const auto plain = Generate(config, {&before});
  Rows after;
  const auto mixed = Generate(config, {&after}, [](size_t i) {
    RoutingOptions options;
    if (i % 4 == 1) options.rules = {{ExpertRule::Kind::kBan, "low", 0}};
    if (i % 4 == 2) options.adaptive_experts = 0.7;
    if (i % 4 == 3) options.experts_per_token = 2, options.explain = true;
    return options;
  });
  int num_changed = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    if (i % 4 == 0) {
      EXPECT_EQ(mixed[i].tokens, plain[i].tokens);
      for (size_t t = 0; t < plain[i].tokens.size(); ++t)  // to the last bit
        EXPECT_EQ(mixed[i].logprobs[t].chosen.logprob, plain[i].logprobs[t].chosen.logprob);
      EXPECT_FALSE(mixed[i].routing.has_value());
      continue;
    }
    num_changed += mixed[i].logprobs[0].chosen.logprob != plain[i].logprobs[0].chosen.logprob;
    ASSERT_TRUE(mixed[i].routing.has_value());
    const auto num_tokens = static_cast<int64_t>(prompts_[i].size() + mixed[i].tokens.size()) - 1;
    EXPECT_EQ(mixed[i].routing->tokens, num_tokens);
    EXPECT_EQ(mixed[i].routing->selections, num_tokens * 7 * 4);
    int64_t dropped = 0, banned = 0;
    for (const RoutingAudit::Layer& layer : mixed[i].routing->layers) {
      dropped += layer.dropped;
      banned += layer.banned;
    }
    int64_t found_dropped = 0;
    for (const auto& [place, routed] : after.rows) {
      if (place.first != i + 1) continue;
      found_dropped += std::ranges::count(routed.experts, -1);
      if (i % 4 != 1) continue;
      EXPECT_TRUE(std::ranges::all_of(routed.experts, [](int32_t e) { return e >= 8; }));
    }
    EXPECT_EQ(found_dropped, dropped);
    EXPECT_EQ(banned > 0, i % 4 == 1);
    EXPECT_EQ(dropped > 0, i % 4 >= 2);
    EXPECT_EQ(dropped == num_tokens * 7 * 2, i % 4 == 3);
    EXPECT_EQ(mixed[i].experts.has_value(), i % 4 == 3);
  }
  EXPECT_EQ(num_changed, 6);
}

// Speculation checks drafts under the request's control: the same tokens with and without.
TEST_F(RoutingOnTinyMoe, SteeredRequestsSpeculateToTheSameTokens) {
  const auto control = [](size_t i) {
    RoutingOptions options;
    options.adaptive_experts = 0.75;
    options.min_experts = 2;
    if (i % 2 == 1) options.rules = {{ExpertRule::Kind::kBoost, "low", 3}};
    return options;
  };
  const auto plain = Generate({1, 512, Speculation::kOff}, {}, control);
  const auto drafted = Generate({4, 512, Speculation::kMtp}, {}, control);
  int64_t num_accepted = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(drafted[i].tokens, plain[i].tokens);
    ASSERT_TRUE(plain[i].routing && drafted[i].routing);
    EXPECT_EQ(drafted[i].routing->tokens, plain[i].routing->tokens);
    for (size_t l = 0; l < plain[i].routing->layers.size(); ++l) {
      EXPECT_EQ(drafted[i].routing->layers[l].changed, plain[i].routing->layers[l].changed);
      EXPECT_EQ(drafted[i].routing->layers[l].dropped, plain[i].routing->layers[l].dropped);
    }
    num_accepted += drafted[i].accepted_tokens;
  }
  EXPECT_GT(num_accepted, 20);
}

// The documented default (docs/routing.md) costs at most half a percent of the loss, and saves what it says.
TEST_F(RoutingOnTinyMoe, TheRecommendedAdaptiveSettingHoldsItsBar) {
  RoutingOptions options;
  options.adaptive_experts = kRecommendedAdaptiveExperts;
  const Result<RoutingControl> control = MakeRoutingControl(options, *groups_);
  ASSERT_TRUE(control.ok()) << control.message();
  double plain = 0, adaptive = 0;
  int64_t selections = 0, dropped = 0;
  for (const char* set : {"text", "code", "zh", "chat"}) {
    const auto file =
        MappedFile::Open(SharedData(std::string("models/tiny-moe/reference/") + set + ".val.i32"));
    ASSERT_TRUE(file.ok()) << file.message();
    std::vector<int32_t> tokens(4 * 512);
    std::memcpy(tokens.data(), (*file)->bytes().data(), tokens.size() * sizeof(int32_t));
    const auto all = MeanNll(*model_, compute_, tokens, 512, {}, KvType::kQ16);
    const auto fewer = MeanNll(*model_, compute_, tokens, 512, {}, KvType::kQ16, &*control);
    ASSERT_TRUE(all.ok() && fewer.ok());
    plain += all->nll;
    adaptive += fewer->nll;
    selections += fewer->num_selections;
    dropped += fewer->num_dropped;
  }
  EXPECT_LE(adaptive, 1.005 * plain);
  EXPECT_GT(static_cast<double>(dropped), kRecommendedSaving * static_cast<double>(selections));
}

}  // namespace
}  // namespace deepshock
