// SPDX-License-Identifier: Apache-2.0
#include "runtime/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "runtime/scheduler.h"
#include "runtime/test_model.h"

namespace deepshock {
namespace {

// Knows what comes, and tells it wrong now and then; no drafts at all at times.
class Prophet final : public DraftSource {
 public:
  explicit Prophet(const std::map<std::vector<int32_t>, std::vector<int32_t>>& outputs, uint32_t seed)
      : outputs_(outputs), random_(seed) {}
  Status Draft(std::span<DraftRequest> requests) override {
    for (DraftRequest& request : requests) {
      EXPECT_EQ(request.state->kv.length() + 1, static_cast<int64_t>(request.tokens.size()));
      EXPECT_TRUE(request.drafts->empty());
      EXPECT_GE(request.max_drafts, 1);
      for (const auto& [prompt, output] : outputs_) {
        if (request.tokens.size() < prompt.size()) continue;
        const size_t at = request.tokens.size() - prompt.size();
        if (at > output.size() || !std::equal(prompt.begin(), prompt.end(), request.tokens.begin()) ||
            !std::equal(output.begin(), output.begin() + static_cast<std::ptrdiff_t>(at),
                        request.tokens.begin() + static_cast<std::ptrdiff_t>(prompt.size()))) {
          continue;
        }
        const int64_t wanted = random_() % 8 == 0 ? 0 : request.max_drafts;
        for (int64_t i = 0; i < wanted; ++i) {
          const size_t next = at + static_cast<size_t>(i);
          const bool right = next < output.size() && random_() % 4 != 0;
          request.drafts->push_back(right ? output[next] : static_cast<int32_t>(random_() % 26));
        }
        break;
      }
    }
    return {};
  }

 private:
  const std::map<std::vector<int32_t>, std::vector<int32_t>>& outputs_;
  std::mt19937 random_;
};

struct Told {
  GenerationResult result;
  std::vector<std::pair<int32_t, std::string>> streamed;
  int64_t session_tokens = -1;  // when on_done was called
  int num_done = 0;
};

std::vector<Told> RunAll(FakeModel& model, const Tokenizer& tokenizer,
                         const std::vector<GenerationRequest>& requests, int batch_size, DraftSources sources,
                         int draft_tokens) {
  std::vector<Told> told(requests.size());
  std::vector<std::unique_ptr<SequenceState>> sessions;
  SchedulerOptions options{batch_size, 8, {kEos}, draft_tokens, false};
  Scheduler scheduler(model, &tokenizer, options, std::move(sources));
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerationRequest request = requests[i];
    sessions.push_back(std::make_unique<SequenceState>(model.state_spec(), kContext));
    SequenceState* session = sessions.back().get();
    if (i % 2 == 0) request.session = session;
    const auto wanted = requests[i].on_token;
    request.on_token = [&told, i, wanted](const StreamedToken& token) {
      told[i].streamed.emplace_back(token.token, std::string(token.text));
      return !wanted || wanted(token);
    };
    request.on_done = [&told, i, session](GenerationResult result) {
      told[i].result = std::move(result);
      told[i].session_tokens = session->num_tokens();
      ++told[i].num_done;
    };
    scheduler.Submit(std::move(request));
  }
  for (int steps = 0; scheduler.Step() && steps < 100000; ++steps) {
  }
  return told;
}

void ExpectSame(const Told& a, const Told& b) {
  EXPECT_EQ(a.num_done, 1);
  EXPECT_EQ(a.result.tokens, b.result.tokens);
  EXPECT_EQ(a.result.text, b.result.text);
  EXPECT_EQ(a.result.finish_reason, b.result.finish_reason);
  EXPECT_EQ(a.result.status.message(), b.result.status.message());
  EXPECT_EQ(a.streamed, b.streamed);
  EXPECT_EQ(a.session_tokens, b.session_tokens);
  ASSERT_EQ(a.result.logprobs.size(), b.result.logprobs.size());
  for (size_t i = 0; i < a.result.logprobs.size(); ++i) {
    EXPECT_EQ(a.result.logprobs[i].chosen.token, b.result.logprobs[i].chosen.token);
    EXPECT_EQ(a.result.logprobs[i].chosen.logprob, b.result.logprobs[i].chosen.logprob);
    EXPECT_EQ(a.result.logprobs[i].top.size(), b.result.logprobs[i].top.size());
  }
}

// Ends by stop string, end of sequence, length, context, receiver and error; greedy and sampled; sessions.
TEST(Speculation, EverythingARequestSeesIsAsWithoutIt) {
  FakeModel model;
  model.nan_at = 57;
  const LetterTokenizer tokenizer;
  std::mt19937 random(7);
  std::vector<GenerationRequest> requests;
  std::vector<int> num_calls(60);
  for (size_t i = 0; i < num_calls.size(); ++i) {
    GenerationRequest request;
    request.prompt.resize(1 + random() % 30);
    for (int32_t& token : request.prompt) token = static_cast<int32_t>(random() % 26);
    request.prompt[0] = static_cast<int32_t>(i % 26);
    request.max_tokens = i % 5 == 0 ? 0 : 1 + static_cast<int64_t>(random() % 30);
    request.sampling.temperature = static_cast<double>(i % 3) * 0.5;
    request.sampling.repetition_penalty = i % 4 == 0 ? 1.3 : 1.0;
    request.sampling.frequency_penalty = i % 7 == 0 ? 0.5 : 0.0;
    request.sampling.top_k = i % 6 == 0 ? 5 : 0;
    request.sampling.seed = i;
    request.num_logprobs = static_cast<int>(i % 4) - 1;
    if (i % 8 == 3) request.stop = {"a", "zz", "qx"};
    if (i % 9 == 4) request.stop_tokens = {7, 11};
    request.ignore_eos = i % 5 == 0;
    if (i % 10 == 6) {
      request.on_token = [&calls = num_calls[i]](const StreamedToken&) { return ++calls < 4; };
    }
    requests.push_back(std::move(request));
  }
  const std::vector<Told> plain = RunAll(model, tokenizer, requests, 1, {}, 1);
  std::map<FinishReason, int> reasons;
  std::map<std::vector<int32_t>, std::vector<int32_t>> outputs;
  for (size_t i = 0; i < requests.size(); ++i) {
    ++reasons[plain[i].result.finish_reason];
    outputs[requests[i].prompt] = plain[i].result.tokens;
    EXPECT_EQ(plain[i].result.drafted_tokens, 0);
  }
  EXPECT_EQ(reasons.size(), 4u);  // stop, length, cancelled, error
  for (const auto& [batch_size, draft_tokens] :
       std::vector<std::pair<int, int>>{{1, 1}, {1, 7}, {4, 3}, {60, 2}}) {
    std::fill(num_calls.begin(), num_calls.end(), 0);
    DraftSources sources;
    sources.push_back(std::make_unique<Prophet>(outputs, 3));
    const auto found = RunAll(model, tokenizer, requests, batch_size, std::move(sources), draft_tokens);
    int64_t num_accepted = 0, num_drafted = 0, num_tokens = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE(i);
      ExpectSame(found[i], plain[i]);
      EXPECT_LE(found[i].result.accepted_tokens, found[i].result.drafted_tokens);
      num_accepted += found[i].result.accepted_tokens;
      num_drafted += found[i].result.drafted_tokens;
      num_tokens += static_cast<int64_t>(found[i].result.tokens.size());
    }
    EXPECT_GT(num_accepted, num_tokens / 4);
    EXPECT_LT(num_accepted, num_drafted);
  }
}

TEST(Speculation, AConstrainedRequestGetsWhatItGetsWithoutIt) {
  FakeModel model;
  const LetterTokenizer tokenizer;
  const auto requests = [] {  // a constraint serves once
    std::vector<GenerationRequest> made(40);
    for (size_t i = 0; i < made.size(); ++i) {
      made[i].prompt = {static_cast<int32_t>(i % 26), static_cast<int32_t>(i / 26)};
      made[i].max_tokens = 30;
      made[i].sampling.temperature = static_cast<double>(i % 3) * 0.5;
      made[i].sampling.seed = i;
      made[i].constraint = std::make_shared<EvenOddConstraint>(static_cast<int64_t>(3 + i % 20));
    }
    return made;
  };
  const std::vector<Told> plain = RunAll(model, tokenizer, requests(), 7, {}, 3);
  std::map<std::vector<int32_t>, std::vector<int32_t>> outputs;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i].result.tokens.size(), 4 + i % 20);
    EXPECT_EQ(plain[i].result.finish_reason, FinishReason::kStop);
    outputs[requests()[i].prompt] = plain[i].result.tokens;
  }
  for (const int draft_tokens : {1, 3, 7}) {
    DraftSources sources;
    sources.push_back(std::make_unique<Prophet>(outputs, 5));
    const std::vector<Told> drafted =
        RunAll(model, tokenizer, requests(), 7, std::move(sources), draft_tokens);
    int64_t num_right = 0, num_wrong = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
      ExpectSame(drafted[i], plain[i]);
      num_right += drafted[i].result.accepted_tokens;
      num_wrong += drafted[i].result.drafted_tokens - drafted[i].result.accepted_tokens;
    }
    EXPECT_GT(num_right, 50);
    EXPECT_GT(num_wrong, 50);
  }
}

TEST(Speculation, ACancelledRequestGetsNoMoreTokens) {
  FakeModel model;
  model.ends = false;
  const LetterTokenizer tokenizer;
  GenerationRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 20;
  request.sampling.temperature = 0;
  const std::map<std::vector<int32_t>, std::vector<int32_t>> outputs = {
      {request.prompt, RunAll(model, tokenizer, {request}, 1, {}, 1)[0].result.tokens}};
  for (const bool speculate : {false, true}) {
    DraftSources sources;
    if (speculate) sources.push_back(std::make_unique<Prophet>(outputs, 1));
    Scheduler scheduler(model, &tokenizer, {1, 8, {kEos}, 7, false}, std::move(sources));
    int num_tokens = 0;
    uint64_t id = 0;
    GenerationResult result;
    GenerationRequest cancelling = request;
    cancelling.on_token = [&](const StreamedToken& token) {
      if (token.token >= 0 && ++num_tokens == 5) scheduler.Cancel(id);
      return true;
    };
    cancelling.on_done = [&](GenerationResult r) { result = std::move(r); };
    id = scheduler.Submit(cancelling);
    while (scheduler.Step()) {
    }
    EXPECT_EQ(num_tokens, 5);
    EXPECT_EQ(result.tokens.size(), 5u);
    EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  }
}

// A Markov chain: the logits depend on the last token only, so that each transition's frequency can be
// counted.
constexpr int64_t kStates = 6;
std::vector<float> ChainLogits(int32_t last, double noise) {
  std::vector<float> logits;
  SplitMix64 random(static_cast<uint64_t>(last)), other(static_cast<uint64_t>(last) + 100);
  for (int64_t v = 0; v < kStates; ++v) {
    const double own = random.NextUniform() * 3;
    logits.push_back(static_cast<float>(own + noise * other.NextUniform()));
  }
  return logits;
}

class Chain final : public TokenModel {
 public:
  Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* /*observer*/,
                 ForwardOutput* output) override {
    output->logits.clear();
    for (const SequenceChunk& chunk : chunks) {
      chunk.kv->length += static_cast<int64_t>(chunk.tokens.size());
      for (size_t i = chunk.all_logits ? 0 : chunk.tokens.size() - 1; i < chunk.tokens.size(); ++i) {
        const std::vector<float> logits = ChainLogits(chunk.tokens[i], 0);
        output->logits.insert(output->logits.end(), logits.begin(), logits.end());
      }
    }
    return {};
  }
  StateSpec state_spec() const override { return {{KvLayout{.key_dim = 1}}}; }
  int64_t vocab_size() const override { return kStates; }
  int64_t context_length() const override { return 1 << 20; }
};

// Another chain that is much like it.
class ChainDrafts final : public DraftSource {
 public:
  Status Draft(std::span<DraftRequest> requests) override {
    for (DraftRequest& request : requests) {
      for (int64_t i = 0; i < request.max_drafts; ++i) {
        const int32_t last = i == 0 ? request.tokens.back() : request.drafts->back();
        request.drafts->push_back(request.sampler->Guess(ChainLogits(last, 1.0), *request.drafts));
      }
    }
    return {};
  }
};

TEST(Speculation, SampledOutputHasTheModelsDistribution) {
  SamplingOptions sampling;
  sampling.temperature = 0.9;
  sampling.top_k = 5;
  sampling.min_p = 0.01;
  sampling.seed = 11;
  std::vector<std::vector<int32_t>> outputs;
  int64_t num_accepted = 0, num_drafted = 0;
  for (const bool speculate : {false, true}) {
    Chain model;
    DraftSources sources;
    if (speculate) sources.push_back(std::make_unique<ChainDrafts>());
    Scheduler scheduler(model, nullptr, {1, 8, {}, 3, false}, std::move(sources));
    GenerationRequest request;
    request.prompt = {0};
    request.max_tokens = 60000;
    request.sampling = sampling;
    request.on_done = [&](GenerationResult result) {
      num_accepted += result.accepted_tokens;
      num_drafted += result.drafted_tokens;
      outputs.push_back(std::move(result.tokens));
    };
    scheduler.Submit(std::move(request));
    while (scheduler.Step()) {
    }
  }
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0], outputs[1]);
  EXPECT_GT(num_accepted, 20000);
  EXPECT_LT(num_accepted, num_drafted);

  std::vector<std::vector<double>> counts(kStates, std::vector<double>(kStates));
  int32_t last = 0;
  for (const int32_t token : outputs[1]) {
    counts[static_cast<size_t>(last)][static_cast<size_t>(token)] += 1;
    last = token;
  }
  for (int32_t from = 0; from < kStates; ++from) {
    const std::vector<float> logits = ChainLogits(from, 0);
    std::vector<double> p;
    double sum = 0, total = 0, statistic = 0;
    const float least = *std::min_element(logits.begin(), logits.end());  // top_k leaves out one of the six
    for (const float l : logits) sum += p.emplace_back(l == least ? 0.0 : std::exp(l / sampling.temperature));
    for (const double c : counts[static_cast<size_t>(from)]) total += c;
    for (size_t to = 0; to < p.size(); ++to) {
      const double expected = p[to] / sum * total, found = counts[static_cast<size_t>(from)][to];
      if (p[to] == 0) {
        EXPECT_EQ(found, 0);
      } else {
        statistic += (found - expected) * (found - expected) / expected;
      }
    }
    EXPECT_GT(total, 1000);
    // Mean + 5 standard deviations of chi-square with 4 degrees of freedom; a fixed seed, so no flakiness.
    EXPECT_LT(statistic, 4 + 5 * std::sqrt(8.0)) << from;
  }
}

TEST(NgramDrafts, GoesOnAsTheLongestMatchDid) {
  const auto draft = [](std::vector<int32_t> tokens, int64_t max_drafts) {
    std::vector<int32_t> drafts;
    DraftRequest request{nullptr, tokens, nullptr, max_drafts, &drafts};
    NgramDrafts source;
    EXPECT_TRUE(source.Draft({&request, 1}).ok());
    return drafts;
  };
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(draft({1, 2, 3, 4, 5, 1, 2, 3}, 2), (Tokens{4, 5}));
  EXPECT_EQ(draft({1, 2, 3, 4, 5, 1, 2, 3}, 7), (Tokens{4, 5, 1, 2, 3}));  // no more is known
  EXPECT_EQ(draft({1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3}, 1), (Tokens{5}));     // the newest of equals
  EXPECT_EQ(draft({0, 1, 2, 3, 4, 9, 1, 2, 3, 5, 0, 1, 2, 3}, 1),
            (Tokens{4}));  // the longest before the newest
  EXPECT_EQ(draft({7, 7, 7, 7}, 3), (Tokens{7}));
  EXPECT_EQ(draft({1, 2, 9, 1, 2}, 3), Tokens());  // two are too few
  EXPECT_EQ(draft({1}, 3), Tokens());
}

TEST(MtpTrack, KeepsTheNewestAndBeginsAnewAfterAGap) {
  const auto rows = [](int64_t n, float first) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.insert(values.end(), {first + static_cast<float>(i), 0});
    return values;
  };
  MtpTrack track;
  track.Append(rows(3, 0), 3, 2);
  EXPECT_EQ(track.num_waiting, 3);
  track.num_rows = 10;
  track.Drop(2);
  EXPECT_EQ(track.num_waiting, 1);
  EXPECT_EQ(track.num_rows, 10);
  EXPECT_EQ(track.hidden, rows(1, 0));
  track.Drop(4);
  EXPECT_EQ(track.num_waiting, 0);
  EXPECT_EQ(track.num_rows, 7);
  track.Drop(100);
  EXPECT_EQ(track.num_rows, 0);
  track.num_rows = 5;
  for (int64_t i = 0; i < 3 * MtpTrack::kMaxWaiting; ++i) {
    track.Append(rows(1, static_cast<float>(i)), 1, 2);
    ASSERT_LE(track.num_waiting, MtpTrack::kMaxWaiting);
    ASSERT_EQ(track.hidden.size(), static_cast<size_t>(2 * track.num_waiting));
    ASSERT_EQ(track.hidden[track.hidden.size() - 2], static_cast<float>(i));
  }
  EXPECT_EQ(track.num_rows, 0);
  track.num_rows = 5;
  track.Append(rows(1000, 0), 1000, 2);
  EXPECT_EQ(track.num_rows, 0);
  EXPECT_EQ(track.hidden, rows(MtpTrack::kMaxWaiting, 1000 - static_cast<float>(MtpTrack::kMaxWaiting)));
}

// A machine and a text of made-up speed, run through a controller; the drafts of each pass come back.
struct MadeUp {
  double row_seconds, draft_seconds, right;
};
std::vector<int> Simulate(PassCosts& costs, SpeculationController& controller, const MadeUp& world,
                          int passes, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<int> lengths;
  for (int pass = 0; pass < passes; ++pass) {
    const int drafts = controller.Choose(1);
    lengths.push_back(drafts);
    if (drafts > 0) controller.OnDrafted(1, drafts, drafts * world.draft_seconds);
    // One pass in ten is disturbed.
    const double noise = uniform(random) < 0.1 ? 5 : 0.97 + 0.06 * uniform(random);
    costs.Add(1 + drafts, (1 + drafts * world.row_seconds) * noise);
    int right = 0;
    while (right < drafts && uniform(random) < world.right) ++right;
    if (drafts > 0) controller.OnChecked(drafts, right);
  }
  return lengths;
}

TEST(SpeculationController, FindsTheLengthThatPaysAndFollowsChange) {
  std::mt19937 random(5);
  PassCosts costs;
  SpeculationController controller(costs, 3);
  const auto share = [&](const MadeUp& world, int length) {
    const std::vector<int> lengths = Simulate(costs, controller, world, 3000, random);
    return static_cast<double>(std::count(lengths.begin() + 1500, lengths.end(), length)) / 1500;
  };
  // Tokens over time: 0 drafts 1; 1: 1.9 / 1.15; 2: 2.71 / 1.3; 3: 3.44 / 1.45.
  EXPECT_GT(share({0.1, 0.05, 0.9}, 3), 0.9);
  // 1: 1.5 / 1.6, and more are worse.
  EXPECT_GT(share({0.5, 0.1, 0.5}, 0), 0.9);
  // 1: 1.6 / 1.25 = 1.28; 2: 1.96 / 1.5 = 1.31; 3: 2.18 / 1.75 = 1.24.
  EXPECT_LT(share({0.15, 0.1, 0.6}, 0), 0.1);
}

TEST(SpeculationController, ATryThatTakesLongIsRare) {
  PassCosts costs;
  SpeculationController controller(costs, 3);
  double drafting = 0, all = 0;
  for (int pass = 0; pass < 20000; ++pass) {
    const int drafts = controller.Choose(32);
    if (drafts > 0) {
      // It never pays, and a source that was idle first reads what 32 sequences have written.
      controller.OnDrafted(32, drafts, 1, true);
      controller.OnDrafted(32, drafts, 40, false);
      drafting += 41;
      all += 41;
      controller.OnChecked(drafts, 0);
    }
    costs.Add(32 * (1 + drafts), 1 + drafts);
    all += 1 + drafts;
  }
  EXPECT_GT(drafting, 0);
  EXPECT_LT(drafting / all, 0.03);
}

}  // namespace
}  // namespace deepshock
