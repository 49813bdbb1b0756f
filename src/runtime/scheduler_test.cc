// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "experts/routing_counters.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "runtime/test_model.h"

namespace deepshock {
namespace {

class SchedulerTest : public testing::Test {
 protected:
  GenerationRequest Request(std::vector<int32_t> prompt, int64_t max_tokens = 20) {
    GenerationRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    return request;
  }
  SchedulerOptions Options(int batch_size, int prefill_chunk = 8) {
    return {batch_size, prefill_chunk, {kEos}};
  }

  std::vector<GenerationResult> RunAll(const std::vector<GenerationRequest>& requests,
                                       SchedulerOptions options) {
    std::vector<GenerationResult> results(requests.size());
    std::vector<int> num_done(requests.size());
    Scheduler scheduler(model_, &tokenizer_, std::move(options));
    for (size_t i = 0; i < requests.size(); ++i) {
      GenerationRequest request = requests[i];
      request.on_done = [&, i](GenerationResult result) {
        results[i] = std::move(result);
        ++num_done[i];
      };
      scheduler.Submit(std::move(request));
    }
    for (int steps = 0; scheduler.Step(); ++steps) {
      EXPECT_LT(steps, 100000);
      if (steps >= 100000) break;
    }
    EXPECT_EQ(num_done, std::vector<int>(requests.size(), 1));
    return results;
  }

  FakeModel model_;
  LetterTokenizer tokenizer_;
};

TEST_F(SchedulerTest, TheResultDependsOnNeitherBatchNorChunks) {
  std::mt19937 random(1);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 40; ++i) {
    std::vector<int32_t> prompt(1 + random() % 40);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % 26);
    requests.push_back(Request(prompt, 1 + static_cast<int64_t>(random() % 30)));
    requests.back().sampling.temperature = i % 2;
    requests.back().sampling.repetition_penalty = i % 3 == 0 ? 1.3 : 1.0;
    requests.back().sampling.seed = static_cast<uint64_t>(i);
    requests.back().num_logprobs = i % 4 - 1;
  }
  const std::vector<GenerationResult> alone = RunAll(requests, Options(1, 1000));
  std::map<FinishReason, int> reasons;
  for (const GenerationResult& result : alone) ++reasons[result.finish_reason];
  EXPECT_GT(reasons[FinishReason::kStop], 5);
  EXPECT_GT(reasons[FinishReason::kLength], 5);
  for (const auto& [batch_size, chunk, slow_layers] : std::vector<std::tuple<int, int, int>>{
           {1, 3, 0}, {4, 8, 0}, {7, 1, 0}, {32, 16, 0}, {100, 512, 0}, {4, 8, 3}, {16, 64, 3}}) {
    SchedulerOptions options = Options(batch_size, chunk);
    options.most_beside = 3;
    model_.slow_layers = slow_layers;
    model_.num_begun = 0;
    const std::vector<GenerationResult> batched = RunAll(requests, options);
    EXPECT_EQ(model_.num_begun > 0, slow_layers > 0);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(batched[i].tokens, alone[i].tokens) << i;
      EXPECT_EQ(batched[i].text, alone[i].text);
      EXPECT_EQ(batched[i].finish_reason, alone[i].finish_reason);
      EXPECT_EQ(batched[i].logprobs.size(), requests[i].num_logprobs < 0 ? 0 : alone[i].tokens.size());
    }
  }
}

TEST_F(SchedulerTest, AFinishedSequenceMakesRoomForTheNext) {
  model_.ends = false;
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(Request({1, 2}, i < 4 ? 4 : 12));
  RunAll(requests, Options(4, 8));
  EXPECT_EQ(*std::max_element(model_.batch_sizes.begin(), model_.batch_sizes.end()), 4u);
  // Static batches would need as many: the first four take 4 steps, the others 12; no step is wasted in
  // between.
  EXPECT_EQ(model_.batch_sizes.size(), 16u);
}

TEST_F(SchedulerTest, AStepHoldsNoMorePromptThanAChunk) {
  model_.ends = false;
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 6; ++i) requests.push_back(Request(std::vector<int32_t>(20, i), 5));
  RunAll(requests, Options(6, 8));
  for (const int64_t n : model_.token_counts) EXPECT_LE(n, 8 + 6);
}

TEST_F(SchedulerTest, FinishReasonsAndCounts) {
  model_.ends = false;
  const GenerationResult length = RunAll({Request({1, 2, 3}, 5)}, Options(1))[0];
  EXPECT_EQ(length.finish_reason, FinishReason::kLength);
  EXPECT_EQ(length.tokens.size(), 5u);
  EXPECT_EQ(length.prompt_tokens, 3);
  EXPECT_GE(length.total_ms, length.first_token_ms);
  EXPECT_GT(length.TokensPerSecond(), 0);

  const GenerationResult full = RunAll({Request({1, 2, 3}, 0)}, Options(1))[0];
  EXPECT_EQ(full.finish_reason, FinishReason::kLength);
  EXPECT_EQ(full.tokens.size(), static_cast<size_t>(kContext - 3));

  GenerationRequest stop_token = Request({1, 2, 3}, 5);
  stop_token.stop_tokens = {length.tokens[2]};
  const GenerationResult stopped = RunAll({stop_token}, Options(1))[0];
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens, std::vector<int32_t>(length.tokens.begin(), length.tokens.begin() + 3));
  EXPECT_EQ(stopped.text, tokenizer_.Decode(std::span<const int32_t>(length.tokens).subspan(0, 2), true));
}

TEST_F(SchedulerTest, EndOfSequenceStopsUnlessIgnored) {
  std::vector<int32_t> prompt;
  for (int32_t first = 0; first < 26; ++first) {
    const GenerationResult result = RunAll({Request({first}, 30)}, Options(1))[0];
    if (result.finish_reason != FinishReason::kStop) continue;
    EXPECT_EQ(result.tokens.back(), kEos);
    prompt = {first};
  }
  ASSERT_FALSE(prompt.empty());
  GenerationRequest ignoring = Request(prompt, 30);
  ignoring.ignore_eos = true;
  EXPECT_EQ(RunAll({ignoring}, Options(1))[0].tokens.size(), 30u);
}

TEST_F(SchedulerTest, AConstraintSaysWhatComesAndWhereItEnds) {
  model_.ends = false;
  for (const double temperature : {0.0, 1.0}) {
    GenerationRequest request = Request({1, 2, 3}, 30);
    request.sampling.temperature = temperature;
    const auto constraint = std::make_shared<EvenOddConstraint>(8);
    request.constraint = constraint;
    const GenerationResult result = RunAll({request}, Options(1))[0];
    EXPECT_EQ(result.finish_reason, FinishReason::kStop) << result.status.message();
    ASSERT_EQ(result.tokens.size(), 9u);
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(static_cast<size_t>(result.tokens[i]) % 2, i % 2);
    EXPECT_EQ(result.tokens.back(), kEos);
    EXPECT_EQ(constraint->num_asked, 9);
    // Used up: nothing may come after its end.
    const GenerationResult again = RunAll({request}, Options(1))[0];
    EXPECT_EQ(again.finish_reason, FinishReason::kStop);
    EXPECT_EQ(again.tokens, std::vector<int32_t>{kEos});
  }
  GenerationRequest ignoring = Request({1}, 30);
  ignoring.ignore_eos = true;
  ignoring.constraint = std::make_shared<EvenOddConstraint>(8);
  EXPECT_EQ(RunAll({ignoring}, Options(1))[0].finish_reason, FinishReason::kError);
}

TEST_F(SchedulerTest, StopStringsCutTheStreamedText) {
  model_.ends = false;
  const std::string text = RunAll({Request({5}, 30)}, Options(1))[0].text;
  ASSERT_GT(text.size(), 12u);
  GenerationRequest request = Request({5}, 30);
  request.stop = {text.substr(6, 3)};
  std::string streamed;
  request.on_token = [&](const StreamedToken& token) {
    streamed += token.text;
    return true;
  };
  const GenerationResult result = RunAll({request}, Options(1))[0];
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_EQ(result.text, text.substr(0, text.find(request.stop[0])));
  EXPECT_EQ(streamed, result.text);
}

TEST_F(SchedulerTest, AFaultyRequestEndsAlone) {
  std::vector<GenerationRequest> requests = {
      Request({1, 2}, 5),  Request({}, 5),      Request(std::vector<int32_t>(kContext, 1), 5),
      Request({1, 99}, 5), Request({1, -1}, 5), Request({3, 4}, 5)};
  requests.push_back(Request({1}, 5));
  requests.back().sampling.top_p = 7;
  requests.push_back(Request({1}, 5));
  requests.back().stop = {""};
  requests.push_back(Request({1}, -3));
  const std::vector<GenerationResult> results = RunAll(requests, Options(3));
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].status.ok(), i == 0 || i == 5) << i << ": " << results[i].status.message();
    EXPECT_EQ(results[i].finish_reason == FinishReason::kError, i != 0 && i != 5);
  }
  EXPECT_EQ(results[1].status.message(), "prompt: expected at least one token, found none");
  EXPECT_EQ(results[2].status.message(),
            "prompt: expected fewer tokens than the context length of 64, found 64");
  EXPECT_EQ(results[3].status.message(), "prompt: expected token ids 0 to 31, found 99");
}

TEST_F(SchedulerTest, NanLogitsEndTheirSequenceOnly) {
  model_.ends = false;
  model_.nan_at = 10;
  const auto results = RunAll({Request({1, 2}, 5), Request({1, 2, 3, 4, 5, 6, 7}, 20)}, Options(2));
  EXPECT_TRUE(results[0].status.ok());
  EXPECT_EQ(results[1].status.message(), "logits: expected finite numbers, found nan for token 29");
  EXPECT_EQ(results[1].tokens.size(), 3u);
}

TEST_F(SchedulerTest, AFailedPassEndsWhatItComputed) {
  model_.fail = true;
  const auto results = RunAll({Request({1}), Request({2}), Request({3})}, Options(2));
  for (const GenerationResult& result : results) EXPECT_EQ(result.status.message(), "the machine is on fire");
}

TEST_F(SchedulerTest, CancelWaitingRunningAndFromTheCallback) {
  model_.ends = false;
  Scheduler scheduler(model_, &tokenizer_, Options(2));
  std::map<int, GenerationResult> results;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 4; ++i) {
    GenerationRequest request = Request({i}, 50);
    request.on_done = [&results, i](GenerationResult result) { results[i] = std::move(result); };
    if (i == 1) {
      request.on_token = [n = 0](const StreamedToken&) mutable { return ++n < 3; };
    }
    ids.push_back(scheduler.Submit(std::move(request)));
  }
  scheduler.Step();
  scheduler.Cancel(ids[0]);
  scheduler.Cancel(ids[3]);
  scheduler.Cancel(12345);
  while (scheduler.Step()) {
  }
  EXPECT_EQ(results[0].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(results[0].tokens.size(), 1u);
  EXPECT_EQ(results[1].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(results[1].tokens.size(), 3u);
  EXPECT_EQ(results[2].finish_reason, FinishReason::kLength);
  EXPECT_EQ(results[3].finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(results[3].tokens.empty());
  EXPECT_TRUE(results[3].status.ok());
}

TEST_F(SchedulerTest, ACancelledRequestThatWaitsEndsInTheNextStep) {
  model_.ends = false;
  Scheduler scheduler(model_, &tokenizer_, Options(1));
  int num_cancelled = 0;
  for (int i = 0; i < 3; ++i) {
    GenerationRequest request = Request({i}, 50);
    request.on_done = [&](GenerationResult result) {
      num_cancelled += result.finish_reason == FinishReason::kCancelled ? 1 : 0;
    };
    const uint64_t id = scheduler.Submit(std::move(request));
    if (i == 2) scheduler.Cancel(id);
  }
  scheduler.Step();
  EXPECT_EQ(num_cancelled, 1);
  EXPECT_EQ(scheduler.stats().running, 1);
  EXPECT_EQ(scheduler.stats().waiting, 1);
  EXPECT_EQ(scheduler.stats().cancelled, 1);
}

TEST_F(SchedulerTest, AFullQueueRefuses) {
  SchedulerOptions options = Options(2);
  options.max_waiting = 3;
  std::vector<GenerationRequest> requests(8, Request({1}, 3));
  const std::vector<GenerationResult> results = RunAll(requests, options);
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].status.ok(), i < 5) << i;
    EXPECT_EQ(results[i].queue_full, i >= 5) << i;
  }
  EXPECT_EQ(results[7].status.message(), "queue: expected at most 3 waiting requests, found as many");
}

TEST_F(SchedulerTest, PrioritiesGoFirstAndEqualsInOrder) {
  Scheduler scheduler(model_, &tokenizer_, Options(1));
  std::vector<int> order;
  const std::vector<int> priorities = {0, 0, 2, -1, 2, 1 << 30, -(1 << 30)};
  for (size_t i = 0; i < priorities.size(); ++i) {
    GenerationRequest request = Request({1}, 2);
    request.priority = priorities[i];
    request.on_done = [&order, i](GenerationResult) { order.push_back(static_cast<int>(i)); };
    scheduler.Submit(std::move(request));
  }
  while (scheduler.Step()) {
  }
  EXPECT_EQ(order, (std::vector<int>{5, 2, 4, 0, 1, 3, 6}));
}

TEST_F(SchedulerTest, AnEmbeddingIsTheMeanOverThePrompt) {
  GenerationRequest request = Request({});
  for (int i = 0; i < static_cast<int>(kContext); ++i) request.prompt.push_back(i % 26);
  request.embed = true;
  double sum = 0;
  for (const int32_t token : request.prompt) sum += token;
  // Beside others, in chunks; the prompt may fill the context, since nothing follows it.
  for (const int chunk : {1000, 8, 7}) {
    const auto results = RunAll({request, Request({1, 2}), request}, Options(3, chunk));
    for (const size_t i : {size_t{0}, size_t{2}}) {
      EXPECT_EQ(results[i].finish_reason, FinishReason::kStop) << results[i].status.message();
      EXPECT_EQ(results[i].embedding, std::vector<float>{static_cast<float>(sum / kContext)});
      EXPECT_TRUE(results[i].tokens.empty());
    }
    EXPECT_TRUE(results[1].embedding.empty());
  }
}

TEST_F(SchedulerTest, StatsCountPassesAndTheExpertsThatTheyRead) {
  model_.ends = false;
  Scheduler scheduler(model_, &tokenizer_, Options(2));
  RoutingCounters counters(model_.routing_shape());
  scheduler.AddRoutingSink(&counters);
  for (int i = 0; i < 2; ++i) scheduler.Submit(Request({1, 2, 3}, 4));
  while (scheduler.Step()) {
  }
  const EngineStats stats = scheduler.stats();
  EXPECT_EQ(stats.submitted, 2);
  EXPECT_EQ(stats.finished, 2);
  EXPECT_EQ(stats.prompt_tokens, 6);
  EXPECT_EQ(stats.output_tokens, 8);
  EXPECT_EQ(stats.all.passes, 1 + 3);
  EXPECT_EQ(stats.decode.passes, 3);
  EXPECT_EQ(stats.decode.rows, 6);
  // Both sequences are the same: two experts in each of two layers.
  EXPECT_EQ(stats.decode.expert_reads, 3 * 2 * 2);
}

TEST_F(SchedulerTest, SubmitFromOnDone) {
  Scheduler scheduler(model_, &tokenizer_, Options(1));
  int num_done = 0;
  std::function<void()> submit = [&] {
    GenerationRequest request =
        Request(num_done % 2 == 0 ? std::vector<int32_t>{} : std::vector<int32_t>{1}, 3);
    request.on_done = [&](GenerationResult) {
      if (++num_done < 6) submit();
    };
    scheduler.Submit(std::move(request));
  };
  submit();
  for (int i = 0; i < 100 && scheduler.Step(); ++i) {
  }
  EXPECT_EQ(num_done, 6);
}

TEST_F(SchedulerTest, ASessionReusesWhatPromptsShare) {
  model_.ends = false;
  Scheduler scheduler(model_, &tokenizer_, Options(2));
  SequenceState session(model_.state_spec(), kContext);
  const auto run = [&](std::vector<int32_t> prompt, Session* used) {
    GenerationRequest request = Request(std::move(prompt), 4);
    request.session = used;
    GenerationResult result;
    request.on_done = [&](GenerationResult r) { result = std::move(r); };
    scheduler.Submit(std::move(request));
    while (scheduler.Step()) {
    }
    return result;
  };
  const GenerationResult first = run({1, 2, 3}, &session);
  EXPECT_EQ(first.cached_prompt_tokens, 0);
  EXPECT_EQ(session.num_tokens(), 6);  // the last token drawn was never computed
  std::vector<int32_t> longer = {1, 2, 3};
  longer.insert(longer.end(), first.tokens.begin(), first.tokens.end());
  longer.push_back(7);
  const GenerationResult second = run(longer, &session);
  EXPECT_EQ(second.cached_prompt_tokens, 6);
  EXPECT_EQ(second.tokens, run(longer, nullptr).tokens);
  // The same prompt again: all but its last token, whose logits are needed.
  EXPECT_EQ(run(longer, &session).cached_prompt_tokens, static_cast<int64_t>(longer.size()) - 1);
  const GenerationResult other = run({1, 9}, &session);
  EXPECT_EQ(other.cached_prompt_tokens, 1);
  EXPECT_EQ(other.tokens, run({1, 9}, nullptr).tokens);
  session.Clear();
  EXPECT_EQ(run({1, 2, 3}, &session).tokens, first.tokens);
}

TEST_F(SchedulerTest, TwoRequestsCannotShareASessionAtOnce) {
  SequenceState session(model_.state_spec(), kContext);
  std::vector<GenerationRequest> requests = {Request({1, 2}), Request({1, 2})};
  for (GenerationRequest& request : requests) request.session = &session;
  const auto results = RunAll(requests, Options(2));
  EXPECT_TRUE(results[0].status.ok());
  EXPECT_EQ(results[1].status.message(), "session: another request is using it");
  EXPECT_FALSE(session.busy);
}

// Real forward passes: batch composition must not change a single token.
TEST(SchedulerWithModel, GreedyTokensDoNotDependOnTheBatch) {
  for (const char* name : {"deepseek_v3", "mixtral", "gpt_oss"}) {
    const std::string path = std::string(DEEPSHOCK_SHARED_DATA) + "/conformance/" + name;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
    Result<std::unique_ptr<Model>> model = Model::Load(path);
    ASSERT_TRUE(model.ok()) << model.message();
    ThreadPool pool(2);
    Compute compute(BestKernels(), pool);
    LoadedModel token_model(**model, compute, (*model)->spec().context_length);
    std::mt19937 random(3);
    std::vector<std::vector<int32_t>> prompts(9);
    for (auto& prompt : prompts) {
      prompt.resize(1 + random() % 20);
      for (int32_t& t : prompt)
        t = static_cast<int32_t>(random() % static_cast<uint64_t>(token_model.vocab_size()));
    }
    const auto generate = [&](int batch_size) {
      std::vector<std::vector<int32_t>> outputs(prompts.size());
      Scheduler scheduler(token_model, nullptr, {batch_size, 8, {}});
      for (size_t i = 0; i < prompts.size(); ++i) {
        GenerationRequest request;
        request.prompt = prompts[i];
        request.max_tokens = 6 + static_cast<int64_t>(i);
        request.sampling.temperature = 0;
        request.on_done = [&outputs, i](GenerationResult r) {
          EXPECT_TRUE(r.status.ok()) << r.status.message();
          outputs[i] = r.tokens;
        };
        scheduler.Submit(std::move(request));
      }
      while (scheduler.Step()) {
      }
      return outputs;
    };
    EXPECT_EQ(generate(1), generate(4)) << name;
  }
}

}  // namespace
}  // namespace deepshock
