// SPDX-License-Identifier: Apache-2.0
// What serving asks of the scheduler: prefixes that are kept, requests that are put back for lack of memory,
// long prompts beside streams; and that none of it changes an answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "experts/routing_counters.h"
#include "kernels/ops.h"
#include "runtime/scheduler.h"
#include "runtime/test_model.h"

namespace deepshock {
namespace {

GenerationRequest Greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  return request;
}

// Submits all, then steps until nothing is left.
std::vector<GenerationResult> RunAll(Scheduler& scheduler, const std::vector<GenerationRequest>& requests) {
  std::vector<GenerationResult> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerationRequest request = requests[i];
    request.on_done = [&results, i](GenerationResult result) { results[i] = std::move(result); };
    scheduler.Submit(std::move(request));
  }
  for (int steps = 0; scheduler.Step() && steps < 100000; ++steps) {
  }
  EXPECT_EQ(scheduler.num_requests(), 0);
  return results;
}

std::unique_ptr<PrefixCache> Prefixes(const TokenModel& model, int64_t block_tokens,
                                      int64_t max_bytes = 1 << 30) {
  PrefixCache::Options options;
  options.block_tokens = block_tokens;
  options.max_bytes = max_bytes;
  options.num_draft_layers = model.num_draft_layers();
  options.budget = model.memory_budget();
  return std::make_unique<PrefixCache>(std::move(options));
}

// The embedded model as it is served: 8-bit activations, state in 16 bits.
class ServingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    pool_ = new ThreadPool(2);
    compute_ = new Compute(BestKernels(), *pool_);
    auto loaded = Model::Load(std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf", {true, pool_});
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = loaded->release();
  }
  static void TearDownTestSuite() {
    delete model_;
    delete compute_;
    delete pool_;
  }
  static std::vector<int32_t> RandomTokens(size_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(300 + random() % 7000);
    return tokens;
  }
  // With its own state, alone, without a cache.
  static GenerationResult Solo(TokenModel& model, const GenerationRequest& request, int chunk) {
    Scheduler scheduler(model, nullptr, {1, chunk, {}});
    return RunAll(scheduler, {request})[0];
  }

  static ThreadPool* pool_;
  static Compute* compute_;
  static Model* model_;
};
ThreadPool* ServingTest::pool_ = nullptr;
Compute* ServingTest::compute_ = nullptr;
Model* ServingTest::model_ = nullptr;

TEST_F(ServingTest, AnswersAreTheSameWithAPrefixCache) {
  constexpr int kChunk = 64;
  LoadedModel model(*model_, *compute_, 1024, KvType::kQ16);
  // Prompts that share beginnings, end inside and at borders of chunks, and repeat.
  const std::vector<int32_t> common = RandomTokens(200, 1);
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < 12; ++i) {
    std::vector<int32_t> prompt(common.begin(),
                                common.begin() + static_cast<std::ptrdiff_t>(i % 3 == 0 ? 192 : 128 + i));
    const std::vector<int32_t> own = RandomTokens(i % 3 == 0 ? 0 : i * 9, i / 2);
    prompt.insert(prompt.end(), own.begin(), own.end());
    requests.push_back(Greedy(prompt, 12));
    requests.back().sampling.temperature = i % 2 == 0 ? 0 : 0.9;
    requests.back().sampling.seed = i;
    requests.back().num_logprobs = 2;
  }
  requests.push_back(requests[1]);
  requests.push_back(requests[0]);
  std::vector<GenerationResult> alone;
  for (const GenerationRequest& request : requests) alone.push_back(Solo(model, request, kChunk));
  const auto expect_same = [&](const std::vector<GenerationResult>& results) {
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_TRUE(results[i].status.ok()) << results[i].status.message();
      EXPECT_EQ(results[i].tokens, alone[i].tokens) << i;
      for (size_t t = 0; t < results[i].logprobs.size(); ++t)
        ASSERT_EQ(results[i].logprobs[t].chosen.logprob, alone[i].logprobs[t].chosen.logprob)
            << i << " " << t;
    }
  };
  for (const bool with_drafts : {false, true}) {
    DraftSources drafts;
    if (with_drafts) drafts = std::move(*MakeDraftSources(Speculation::kMtp, model));
    SchedulerOptions options{4, kChunk, {}};
    options.prefill_step = 256;
    Scheduler scheduler(model, nullptr, options, std::move(drafts), Prefixes(model, kChunk));
    expect_same(RunAll(scheduler, requests));
    const auto again = RunAll(scheduler, requests);
    expect_same(again);
    for (size_t i = 0; i < again.size(); ++i)
      EXPECT_EQ(again[i].cached_prompt_tokens, again[i].prompt_tokens) << "nothing was left to compute";
    EXPECT_GE(scheduler.stats().prefix_cache.hits, static_cast<int64_t>(requests.size()));
  }
  // With room for little, blocks come and go.
  Scheduler small(model, nullptr, {4, kChunk, {}}, {}, Prefixes(model, kChunk, 900000));
  expect_same(RunAll(small, requests));
  expect_same(RunAll(small, requests));
  EXPECT_GT(small.stats().prefix_cache.evictions, 0);
  EXPECT_LE(small.stats().prefix_cache.bytes, 900000);
}

TEST_F(ServingTest, AConversationFindsWhatItSaidBefore) {
  constexpr int kChunk = 64;
  LoadedModel model(*model_, *compute_, 1024, KvType::kQ16);
  Scheduler scheduler(model, nullptr, {1, kChunk, {}}, {}, Prefixes(model, kChunk));
  std::vector<int32_t> prompt = RandomTokens(150, 5);
  int64_t known = 0;
  for (int turn = 0; turn < 4; ++turn) {
    const GenerationRequest request = Greedy(prompt, 40);
    const GenerationResult result = RunAll(scheduler, {request})[0];
    EXPECT_EQ(result.tokens, Solo(model, request, kChunk).tokens);
    // The prompt before, in whole chunks; its answer was computed token by token, which rounds otherwise
    // here.
    EXPECT_EQ(result.cached_prompt_tokens, known);
    known = static_cast<int64_t>(prompt.size()) / kChunk * kChunk;
    prompt.insert(prompt.end(), result.tokens.begin(), result.tokens.end());
    const std::vector<int32_t> more = RandomTokens(30, static_cast<uint64_t>(turn));
    prompt.insert(prompt.end(), more.begin(), more.end());
  }
}

TEST_F(ServingTest, RequestsThatArePutBackAnswerAsAlone) {
  constexpr int kChunk = 64;
  LoadedModel unlimited(*model_, *compute_, 1024, KvType::kQ16);
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < 8; ++i) {
    requests.push_back(Greedy(RandomTokens(40 + 30 * i, i), 150));
    requests.back().sampling.temperature = i % 2 == 0 ? 0 : 0.8;
    requests.back().sampling.seed = i;
    requests.back().num_logprobs = 0;
  }
  // Room for the largest and little more.
  struct LimitedModel final : TokenModel {
    LimitedModel(LoadedModel& model, int64_t bytes) : model_(model), budget(bytes) {}
    Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                   ForwardOutput* output) override {
      return model_.Forward(chunks, observer, output);
    }
    Status ForwardMtp(std::span<const MtpChunk> chunks, ForwardOutput* output) override {
      return model_.ForwardMtp(chunks, output);
    }
    bool has_mtp() const override { return true; }
    RoutingShape routing_shape() const override { return model_.routing_shape(); }
    StateSpec state_spec() const override { return model_.state_spec(); }
    int num_draft_layers() const override { return model_.num_draft_layers(); }
    int64_t vocab_size() const override { return model_.vocab_size(); }
    int64_t context_length() const override { return model_.context_length(); }
    MemoryBudget* memory_budget() const override { return &budget; }
    LoadedModel& model_;
    mutable FixedBudget budget;
  };
  const int64_t bytes = 512 * unlimited.state_spec().bytes_per_token();
  std::vector<GenerationResult> alone;
  for (const GenerationRequest& request : requests) alone.push_back(Solo(unlimited, request, kChunk));
  for (const bool everything : {false, true}) {
    LimitedModel model(unlimited, bytes);
    {
      DraftSources drafts;
      if (everything) drafts = std::move(*MakeDraftSources(Speculation::kMtp, model));
      Scheduler scheduler(model, nullptr, {8, kChunk, {}}, std::move(drafts),
                          everything ? Prefixes(model, kChunk) : nullptr);
      RoutingCounters counters(model.routing_shape());
      scheduler.AddRoutingSink(&counters);
      const auto results = RunAll(scheduler, requests);
      EXPECT_GT(scheduler.stats().preemptions, 0) << "the limit was not felt";
      int64_t num_prompt = 0, num_output = 0;
      for (size_t i = 0; i < results.size(); ++i) {
        ASSERT_TRUE(results[i].status.ok()) << results[i].status.message();
        EXPECT_EQ(results[i].tokens, alone[i].tokens) << i;
        for (size_t t = 0; t < results[i].logprobs.size(); ++t)
          ASSERT_EQ(results[i].logprobs[t].chosen.logprob, alone[i].logprobs[t].chosen.logprob)
              << i << " " << t;
        num_prompt += results[i].prompt_tokens;
        num_output += static_cast<int64_t>(results[i].tokens.size()) - 1;
      }
      EXPECT_EQ(counters.Snapshot().prefill_tokens, num_prompt) << "counted once";
      EXPECT_EQ(counters.Snapshot().decode_tokens, num_output);
      // One that cannot fit says what it needs and what there is; the others do not notice.
      std::vector<GenerationRequest> with_giant = {requests[0], Greedy(RandomTokens(600, 9), 5), requests[1]};
      const auto mixed = RunAll(scheduler, with_giant);
      EXPECT_EQ(mixed[0].tokens, alone[0].tokens);
      EXPECT_EQ(mixed[2].tokens, alone[1].tokens);
      EXPECT_NE(mixed[1].status.message().find("state of 601 tokens: memory: expected at most"),
                std::string::npos)
          << mixed[1].status.message();
    }
    EXPECT_TRUE(model.budget.Take(bytes).ok()) << "all of it came back";
  }
}

// Which families' results do not depend on where a prompt is cut.
TEST(ChunkBorders, OnlyLatentAttentionDependsOnThem) {
  const std::string root = std::string(DEEPSHOCK_SHARED_DATA) + "/conformance";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << root << " is absent";
  ThreadPool pool(2);
  Compute compute(BestKernels(), pool);
  int num_checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const auto loaded = Model::Load(entry.path().string(), {true, &pool});
    if (!loaded.ok()) continue;  // a family that is not here yet
    for (const KvType type : {KvType::kF32, KvType::kQ16, KvType::kQ8}) {
      const auto length = std::min<int64_t>(100, (*loaded)->spec().context_length);
      LoadedModel model(**loaded, compute, length, type);
      std::mt19937 random(7);
      std::vector<int32_t> tokens(static_cast<size_t>(length));
      for (int32_t& token : tokens)
        token = static_cast<int32_t>(random() % static_cast<uint64_t>(model.vocab_size()));
      const auto logits = [&](int64_t chunk) {
        KvCache cache(model.state_spec(), length);
        EXPECT_TRUE(cache.Reserve(length).ok());
        ForwardOutput output;
        for (int64_t at = 0; at < length; at += chunk) {
          const auto part = std::span<const int32_t>(tokens).subspan(
              static_cast<size_t>(at), static_cast<size_t>(std::min(chunk, length - at)));
          const SequenceChunk one{cache.view(), part};
          EXPECT_TRUE(model.Forward({&one, 1}, nullptr, &output).ok());
        }
        return output.logits;
      };
      const std::vector<float> one_by_one = logits(1);
      EXPECT_EQ(logits(1 + kMaxDraftTokens), one_by_one) << entry.path() << ": few rows are as one";
      if (model.depends_on_chunks()) continue;
      ++num_checked;
      for (const int64_t chunk : {int64_t{17}, int64_t{64}, length})
        EXPECT_EQ(logits(chunk), one_by_one) << entry.path() << " " << chunk;
    }
  }
  EXPECT_GT(num_checked, 20);
}

class FakeServingTest : public testing::Test {
 protected:
  FakeModel model_;
};

TEST_F(FakeServingTest, TheAnswerIsKeptWhereChunksDoNotMatter) {
  model_.chunks_matter = false;
  model_.ends = false;
  Scheduler scheduler(model_, nullptr, {1, 32, {}}, {}, Prefixes(model_, 32));
  const GenerationResult first = RunAll(scheduler, {Greedy({1, 2, 3}, 40)})[0];
  std::vector<int32_t> prompt = {1, 2, 3};
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  const GenerationResult second = RunAll(scheduler, {Greedy(prompt, 10)})[0];
  EXPECT_EQ(second.cached_prompt_tokens, 32);
  Scheduler fresh(model_, nullptr, {1, 32, {}});
  EXPECT_EQ(second.tokens, RunAll(fresh, {Greedy(prompt, 10)})[0].tokens);
}

TEST_F(FakeServingTest, EqualPromptsThatComeTogetherAreComputedOnce) {
  Scheduler scheduler(model_, nullptr, {4, 32, {}}, {}, Prefixes(model_, 32));
  std::vector<int32_t> prompt(50, 7);
  RunAll(scheduler, std::vector<GenerationRequest>(4, Greedy(prompt, 1)));
  int64_t num_tokens = 0;
  for (const int64_t count : model_.token_counts) num_tokens += count;
  // The first chunk once; the rest may be computed by each.
  EXPECT_LE(num_tokens, 32 + 4 * 18);
}

TEST_F(FakeServingTest, StreamsGoOnBesideALongPrompt) {
  model_.ends = false;
  SchedulerOptions options{3, 8, {}};
  options.prefill_step = 32;
  Scheduler scheduler(model_, nullptr, options);
  int num_streamed = 0, num_short = 0;
  GenerationRequest stream = Greedy({1}, 30);
  stream.on_token = [&](const StreamedToken&) { return ++num_streamed > 0; };
  scheduler.Submit(stream);
  scheduler.Step();
  scheduler.Submit(Greedy(std::vector<int32_t>(60, 2), 1));
  GenerationRequest brief = Greedy(std::vector<int32_t>(6, 3), 1);
  brief.on_done = [&](GenerationResult) { num_short = num_streamed; };
  scheduler.Submit(brief);
  while (scheduler.Step()) {
  }
  for (size_t i = 1; i < model_.token_counts.size(); ++i) EXPECT_LE(model_.token_counts[i], 8 + 3);
  EXPECT_EQ(num_streamed, 30);
  EXPECT_LE(num_short, 4) << "a short prompt does not wait for a long one";
}

// A stream and a long prompt, whose chunks are computed layer by layer in between.
class SlowPromptTest : public FakeServingTest {
 protected:
  SlowPromptTest() {
    model_.ends = false;
    model_.slow_layers = 4;
    model_.layer_time = std::chrono::milliseconds(6);  // more than a step's least
    options_ = {4, 32, {}};
    options_.most_beside = 4;
  }
  GenerationRequest Stream(int64_t num_tokens = 40) {
    GenerationRequest stream = Greedy({1}, num_tokens);
    stream.on_token = [this](const StreamedToken&) { return ++num_streamed_ > 0; };
    return stream;
  }
  GenerationRequest LongPrompt() { return Greedy(std::vector<int32_t>(60, 2), 1); }
  GenerationResult Alone(const GenerationRequest& request) {
    FakeModel model;
    model.ends = false;
    Scheduler scheduler(model, nullptr, {1, 32, {}});
    return RunAll(scheduler, {request})[0];
  }
  SchedulerOptions options_;
  int num_streamed_ = 0;
};

TEST_F(SlowPromptTest, StreamsGetATokenALayer) {
  Scheduler scheduler(model_, nullptr, options_);
  RoutingCounters counters(model_.routing_shape());
  scheduler.AddRoutingSink(&counters);
  std::vector<int32_t> streamed;
  GenerationRequest stream = Stream();
  stream.on_done = [&](GenerationResult result) { streamed = result.tokens; };
  scheduler.Submit(stream);
  scheduler.Step();
  int at_first_token = 0, at_short = 0;
  std::vector<int32_t> answer;
  GenerationRequest prompt = LongPrompt();
  prompt.on_done = [&](GenerationResult result) {
    at_first_token = num_streamed_;
    answer = result.tokens;
  };
  scheduler.Submit(prompt);
  scheduler.Step();
  GenerationRequest brief = Greedy({3, 4, 5}, 1);
  brief.on_done = [&](GenerationResult) { at_short = num_streamed_; };
  scheduler.Submit(brief);
  while (scheduler.Step()) {
  }
  EXPECT_EQ(model_.num_begun, 2) << "two chunks";
  EXPECT_GE(at_first_token, 1 + 2 * 4);
  EXPECT_LE(at_short, 4) << "a short prompt joins the streams";
  EXPECT_EQ(answer, Alone(LongPrompt()).tokens);
  EXPECT_EQ(streamed, Alone(Greedy({1}, 40)).tokens);
  EXPECT_EQ(counters.Snapshot().prefill_tokens, 1 + 60 + 3) << "counted once";
  EXPECT_EQ(counters.Snapshot().decode_tokens, 39);
}

TEST_F(SlowPromptTest, ACancelledOneIsDropped) {
  Scheduler scheduler(model_, nullptr, options_);
  scheduler.Submit(Stream());
  scheduler.Step();
  GenerationRequest prompt = LongPrompt();
  FinishReason reason = FinishReason::kStop;
  prompt.on_done = [&](GenerationResult result) { reason = result.finish_reason; };
  const uint64_t id = scheduler.Submit(prompt);
  scheduler.Step();
  ASSERT_EQ(model_.num_begun, 1);
  scheduler.Cancel(id);
  scheduler.Step();
  EXPECT_EQ(reason, FinishReason::kCancelled);
  EXPECT_EQ(RunAll(scheduler, {LongPrompt()})[0].tokens, Alone(LongPrompt()).tokens);
}

TEST_F(SlowPromptTest, SeveralPromptsShareAPassAndOneMayLeave) {
  Scheduler scheduler(model_, nullptr, options_);
  scheduler.Submit(Stream());
  scheduler.Step();
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 3; ++i) requests.push_back(Greedy(std::vector<int32_t>(9, i), 3));
  std::vector<GenerationResult> results(3);
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < 3; ++i) {
    GenerationRequest request = requests[i];
    request.on_done = [&results, i](GenerationResult result) { results[i] = std::move(result); };
    ids.push_back(scheduler.Submit(std::move(request)));
  }
  scheduler.Step();
  scheduler.Cancel(ids[1]);
  while (scheduler.Step()) {
  }
  EXPECT_EQ(model_.num_begun, 1);
  EXPECT_EQ(results[1].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(results[0].tokens, Alone(requests[0]).tokens);
  EXPECT_EQ(results[2].tokens, Alone(requests[2]).tokens);
}

TEST_F(SlowPromptTest, AFailedLayerEndsThatRequestOnly) {
  Scheduler scheduler(model_, nullptr, options_);
  std::vector<int32_t> streamed;
  GenerationRequest stream = Stream();
  stream.on_done = [&](GenerationResult result) { streamed = result.tokens; };
  scheduler.Submit(stream);
  scheduler.Step();
  GenerationRequest prompt = LongPrompt();
  std::string problem;
  prompt.on_done = [&](GenerationResult result) { problem = result.status.message(); };
  scheduler.Submit(prompt);
  scheduler.Step();
  model_.layers_fail = true;
  scheduler.Step();
  EXPECT_EQ(problem, "the machine is on fire");
  while (scheduler.Step()) {
  }
  EXPECT_EQ(streamed, Alone(Greedy({1}, 40)).tokens);
}

TEST_F(SlowPromptTest, EqualPromptsWaitForTheirCommonChunk) {
  Scheduler scheduler(model_, nullptr, options_, {}, Prefixes(model_, 32));
  scheduler.Submit(Stream());
  scheduler.Step();
  const auto results = RunAll(scheduler, {LongPrompt(), LongPrompt()});
  EXPECT_EQ(results[0].tokens, results[1].tokens);
  EXPECT_GE(results[0].cached_prompt_tokens + results[1].cached_prompt_tokens, 32);
  EXPECT_LE(model_.num_begun, 3) << "the first chunk once, the second once or twice";
}

TEST_F(SlowPromptTest, OneThatIsPutBackBeginsAnew) {
  // Room for the long prompt and the stream's first 32 tokens, which end in the middle of its second chunk.
  FixedBudget budget(96 * model_.state_spec().bytes_per_token());
  model_.budget = &budget;
  model_.slow_layers = 20;
  Scheduler scheduler(model_, nullptr, options_);
  GenerationRequest stream = Stream(50);
  std::vector<int32_t> streamed;
  stream.on_done = [&](GenerationResult result) { streamed = result.tokens; };
  scheduler.Submit(stream);
  scheduler.Step();
  EXPECT_EQ(RunAll(scheduler, {LongPrompt()})[0].tokens, Alone(LongPrompt()).tokens);
  while (scheduler.Step()) {
  }
  EXPECT_EQ(streamed, Alone(Greedy({1}, 50)).tokens);
  EXPECT_GT(scheduler.stats().preemptions, 0);
}

TEST_F(FakeServingTest, AWayOfRoutingHasPrefixesOfItsOwn) {
  Scheduler scheduler(model_, nullptr, {1, 32, {}}, {}, Prefixes(model_, 32));
  GenerationRequest request = Greedy(std::vector<int32_t>(50, 7), 3);
  RunAll(scheduler, {request});
  GenerationRequest steered = request;
  steered.routing.experts_per_token = 1;
  EXPECT_EQ(RunAll(scheduler, {steered})[0].cached_prompt_tokens, 0);
  EXPECT_EQ(RunAll(scheduler, {request})[0].cached_prompt_tokens, 50);
  // One that wants to know which experts made its first token computes that.
  EXPECT_EQ(RunAll(scheduler, {steered})[0].cached_prompt_tokens, 32);
}

// Which requests ran, in the order in which they ended, with one place.
class BatchingTest : public testing::Test {
 protected:
  // A second a pass; requests take two.
  std::vector<std::string> Order(const std::vector<std::string>& types, double wait_ms, Batching batching) {
    SchedulerOptions options{1, 32, {}};
    options.batching = batching;
    options.batch_wait_ms = wait_ms;
    options.now = [this] {
      return Sequence::Clock::time_point(std::chrono::seconds(1 + model_.batch_sizes.size()));
    };
    Scheduler scheduler(model_, nullptr, options);
    std::vector<std::string> order;
    for (size_t i = 0; i < types.size(); ++i) {
      GenerationRequest request = Greedy({static_cast<int32_t>(i % 26)}, 2);
      request.expert_type = types[i];
      request.on_done = [&order, name = types[i] + std::to_string(i),
                         type = types[i]](GenerationResult result) {
        EXPECT_EQ(result.expert_type, type);
        order.push_back(name);
      };
      scheduler.Submit(std::move(request));
    }
    while (scheduler.Step()) {
    }
    return order;
  }
  FakeModel model_;
};

TEST_F(BatchingTest, ExpertBatchingRunsTypesTogether) {
  const std::vector<std::string> types = {"a", "b", "a", "c", "b", "a"};
  EXPECT_EQ(Order(types, 1e9, Batching::kFifo),
            (std::vector<std::string>{"a0", "b1", "a2", "c3", "b4", "a5"}));
  EXPECT_EQ(Order(types, 1e9, Batching::kExpert),
            (std::vector<std::string>{"a0", "a2", "a5", "b1", "b4", "c3"}));
  // Unknown ones go when it is their turn.
  EXPECT_EQ(Order({"", "a", "", "a"}, 1e9, Batching::kExpert),
            (std::vector<std::string>{"a1", "a3", "0", "2"}));
}

TEST_F(BatchingTest, NobodyIsPassedOverForLongerThanAllowed) {
  std::vector<std::string> types(40, "a");
  types[3] = "b";
  const auto place = [&](double wait_ms) {
    const auto order = Order(types, wait_ms, Batching::kExpert);
    return std::find(order.begin(), order.end(), "b3") - order.begin();
  };
  EXPECT_EQ(place(1e9), 39);
  // Three run before it anyway; then it is passed over for at most 20 seconds, ten requests.
  EXPECT_GE(place(20e3), 5);
  EXPECT_LE(place(20e3), 13);
  // The next place comes too late.
  EXPECT_EQ(place(1e3), 3);
}

TEST(ExpertTypes, RoutersAndTokensTellTheType) {
  auto groups = std::make_shared<GroupMasks>(RoutingShape{8, 2, {1, 2}});
  const std::vector<ExpertId> left = {{1, 0}, {1, 1}, {2, 0}, {2, 1}},
                              right = {{1, 6}, {1, 7}, {2, 1}, {2, 7}};
  ASSERT_TRUE(groups->Add("left", left).ok());
  ASSERT_TRUE(groups->Add("right", right).ok());
  ExpertTypes types(groups);
  EXPECT_EQ(types.Of("right"), 1);
  EXPECT_EQ(types.Of(""), ExpertTypes::kUnknown);
  EXPECT_EQ(types.Name(types.Of("mine")), "mine");
  EXPECT_EQ(types.Affinity(0, 0), 1);
  EXPECT_NEAR(types.Affinity(0, 1), 1.0 / 7, 1e-12);
  EXPECT_EQ(types.Affinity(0, 2), 0);
  EXPECT_EQ(types.Affinity(ExpertTypes::kUnknown, ExpertTypes::kUnknown), 0);
  RoutingFeed::Layer layer{1, 2, {3, 4, 6, 7, 0, 1}, {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f}, {}};
  std::vector<RoutingFeed::Layer> layers = {layer, layer};
  layers[1].layer = 2;
  layers[1].experts = {3, 4, 7, 5, 0, 1};
  EXPECT_EQ(types.Infer(layers, 0, 1), ExpertTypes::kUnknown);
  EXPECT_EQ(types.Infer(layers, 1, 1), 1);
  EXPECT_EQ(types.Infer(layers, 2, 1), 0);
  EXPECT_EQ(types.Guess(std::vector<int32_t>{1, 2}), ExpertTypes::kUnknown);
  for (int i = 0; i < 3; ++i) {
    types.Learn(std::vector<int32_t>{1, 2, 3, 9}, 0);
    types.Learn(std::vector<int32_t>{4, 5, 6, 9}, 1);
  }
  EXPECT_EQ(types.Guess(std::vector<int32_t>{2, 3, 9, 100}), 0);
  EXPECT_EQ(types.Guess(std::vector<int32_t>{9, 4, 5}), 1);
  EXPECT_EQ(types.Guess(std::vector<int32_t>{9, 100}), ExpertTypes::kUnknown);
}

}  // namespace
}  // namespace deepshock
