// SPDX-License-Identifier: Apache-2.0
#include "runtime/benchmark.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <random>
#include <set>

#include "runtime/kv_cache.h"

namespace deepshock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWarmSteps = 2;  // decode steps before the clock starts
constexpr int64_t kMaxTokens = 1 << 24;
constexpr int kMaxSequences = 4096;

// Which weights a pass reads and multiplies: the dense ones always, the experts that a row was sent to.
class WeightsTouched final : public ForwardObserver {
 public:
  explicit WeightsTouched(const Model& model) : spec_(model.spec()) {
    expert_bytes_.resize(spec_.layers.size());
    expert_parameters_.resize(spec_.layers.size());
    const Status status =
        VisitWeights(spec_, model.weights(), [&](const WeightDecl& decl, const Matrix& m) -> Status {
          const bool is_mtp = decl.layer >= spec_.num_layers();
          if (!m || is_mtp) return {};
          const int64_t parameters = m.rows * m.cols;
          if (decl.expert == 0) {
            expert_bytes_[static_cast<size_t>(decl.layer)] += m.bytes();
            expert_parameters_[static_cast<size_t>(decl.layer)] += parameters;
          } else if (decl.name == "output.weight" || (decl.name == "token_embd.weight" && spec_.tied_head)) {
            head_bytes_ += m.bytes();
            head_parameters_ += parameters;
          } else if (decl.expert < 0 && decl.name != "token_embd.weight") {
            dense_bytes_ += m.bytes();
            dense_parameters_ += parameters;
          }
          return {};
        });
    DS_CHECK(status.ok(), "counting does not fail");
  }

  void OnRouting(const RoutingView& routing) override {
    if (routing.layer >= spec_.num_layers()) return;
    const auto layer = static_cast<size_t>(routing.layer);
    const std::set<int32_t> distinct(routing.experts.begin(), routing.experts.end());
    routed_bytes_ += static_cast<int64_t>(distinct.size()) * expert_bytes_[layer];
    routed_parameters_ += static_cast<int64_t>(routing.experts.size()) * expert_parameters_[layer];
  }

  void Reset() { routed_bytes_ = routed_parameters_ = 0; }
  // Read in every pass, and by one pass that was observed.
  double fixed_bytes() const { return static_cast<double>(dense_bytes_ + head_bytes_); }
  double bytes() const { return fixed_bytes() + static_cast<double>(routed_bytes_); }
  // `tokens` rows through the layers, `rows_of_logits` through the head.
  double ops(int64_t tokens, int64_t rows_of_logits) const {
    return 2.0 * (static_cast<double>(dense_parameters_) * static_cast<double>(tokens) +
                  static_cast<double>(head_parameters_) * static_cast<double>(rows_of_logits) +
                  static_cast<double>(routed_parameters_));
  }

 private:
  const ModelSpec& spec_;
  std::vector<int64_t> expert_bytes_, expert_parameters_;  // [L] of one expert
  int64_t dense_bytes_ = 0, dense_parameters_ = 0, head_bytes_ = 0, head_parameters_ = 0;
  int64_t routed_bytes_ = 0, routed_parameters_ = 0;
};

// One test: its sequences, filled to its depth once.
class Runner {
 public:
  Runner(const Model& model, Compute& compute, const BenchOptions& options, const BenchTest& test)
      : model_(model),
        compute_(compute),
        options_(options),
        test_(test),
        random_(options.seed),
        touched_(model) {
    const int64_t length = test.depth + test.tokens + kWarmSteps;
    for (int s = 0; s < test.num_sequences; ++s) {
      sequences_.push_back(
          std::make_unique<KvCache>(model.state_spec(options.kv_type), length, model.memory().budget.get()));
    }
  }

  // Everything that need not be timed: memory, the context, and one pass whose routing is counted.
  Status Prepare(BenchResult* result) {
    for (auto& sequence : sequences_) {
      DS_RETURN_IF_ERROR(sequence->Reserve(test_.depth + test_.tokens + kWarmSteps));
      DS_RETURN_IF_ERROR(Prefill(*sequence, test_.depth, nullptr));
    }
    touched_.Reset();
    const auto sequences = static_cast<double>(test_.num_sequences);
    const double state_bytes = static_cast<double>(sequences_[0]->allocated_bytes()) /
                               static_cast<double>(std::max<int64_t>(1, sequences_[0]->capacity()));
    if (test_.kind == BenchTest::Kind::kPrefill) {
      DS_RETURN_IF_ERROR(Prefill(*sequences_[0], test_.tokens, &touched_));
      const auto tokens = static_cast<double>(test_.tokens);
      const int64_t passes = num_passes();
      // Bytes of the dense weights are read in every pass; the observer has added the experts of all.
      result->bytes_per_token =
          (touched_.bytes() + static_cast<double>(passes - 1) * touched_.fixed_bytes()) / tokens;
      result->ops_per_token = touched_.ops(test_.tokens, passes) / tokens;
    } else {
      DS_RETURN_IF_ERROR(Step(&touched_));
      const double context = static_cast<double>(test_.depth) + static_cast<double>(test_.tokens) / 2;
      result->bytes_per_token = touched_.bytes() / sequences + context * state_bytes;
      result->ops_per_token = touched_.ops(test_.num_sequences, test_.num_sequences) / sequences;
    }
    Rewind();
    return {};
  }

  // Seconds for the timed tokens.
  Result<double> Measure() {
    Clock::time_point start;
    if (test_.kind == BenchTest::Kind::kPrefill) {
      start = Clock::now();
      DS_RETURN_IF_ERROR(Prefill(*sequences_[0], test_.tokens, nullptr));
    } else {
      for (int64_t i = 0; i < kWarmSteps; ++i) DS_RETURN_IF_ERROR(Step(nullptr));
      start = Clock::now();
      for (int64_t i = 0; i < test_.tokens; ++i) DS_RETURN_IF_ERROR(Step(nullptr));
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    Rewind();
    return seconds;
  }

  int64_t num_passes() const {
    if (test_.kind == BenchTest::Kind::kDecode) return test_.tokens;
    return (test_.tokens + options_.prefill_chunk - 1) / options_.prefill_chunk;
  }

 private:
  std::vector<int32_t> RandomTokens(int64_t count) {
    const auto vocab = static_cast<int32_t>(model_.spec().vocab_size);
    std::uniform_int_distribution<int32_t> any(0, vocab - 1);
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = any(random_);
    return tokens;
  }

  Status Prefill(KvCache& sequence, int64_t count, ForwardObserver* observer) {
    const std::vector<int32_t> tokens = RandomTokens(count);
    for (int64_t done = 0; done < count; done += options_.prefill_chunk) {
      const auto size = static_cast<size_t>(std::min(options_.prefill_chunk, count - done));
      const SequenceChunk chunk{sequence.view(), std::span(tokens).subspan(static_cast<size_t>(done), size),
                                false};
      DS_RETURN_IF_ERROR(model_.Forward(compute_, {&chunk, 1}, observer, &output_));
    }
    return {};
  }

  // One more token for every sequence.
  Status Step(ForwardObserver* observer) {
    const std::vector<int32_t> tokens = RandomTokens(test_.num_sequences);
    std::vector<SequenceChunk> chunks;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      chunks.push_back({sequences_[s]->view(), std::span(tokens).subspan(s, 1), false});
    }
    return model_.Forward(compute_, chunks, observer, &output_);
  }

  void Rewind() {
    for (auto& sequence : sequences_) sequence->Truncate(test_.depth);
  }

  const Model& model_;
  Compute& compute_;
  const BenchOptions& options_;
  const BenchTest& test_;
  std::mt19937_64 random_;
  WeightsTouched touched_;
  std::vector<std::unique_ptr<KvCache>> sequences_;
  ForwardOutput output_;
};

Result<int64_t> ParseCount(std::string_view text, std::string_view whole, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= least && value <= most)
    return value;
  return Fail("test \"{}\": expected numbers from {} to {}, found \"{}\"", whole, least, most, text);
}

Status CheckOptions(const Model& model, const BenchOptions& options) {
  if (options.tests.empty()) return Fail("tests: expected at least one");
  if (options.repetitions < 1) return Fail("repetitions: expected at least 1, found {}", options.repetitions);
  if (options.prefill_chunk < 1)
    return Fail("prefill chunk: expected at least 1, found {}", options.prefill_chunk);
  for (const BenchTest& test : options.tests) {
    const int64_t length = test.depth + test.tokens + kWarmSteps;
    if (length > model.spec().context_length) {
      return Fail("test {}: expected at most {} tokens, the model's context, found {}", test.Name(),
                  model.spec().context_length, length);
    }
  }
  return {};
}

}  // namespace

Result<BenchTest> BenchTest::Parse(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::string_view rest = text;;) {
    const size_t colon = rest.find(':');
    parts.push_back(rest.substr(0, colon));
    if (colon == std::string_view::npos) break;
    rest = rest.substr(colon + 1);
  }
  BenchTest test;
  const size_t n = parts.size();
  if (parts[0] == "pp" && n == 2) {
    DS_ASSIGN(test.tokens, ParseCount(parts[1], text, 1, kMaxTokens));
    return test;
  }
  test.kind = Kind::kDecode;
  if (parts[0] == "tg" && (n == 2 || n == 3)) {
    DS_ASSIGN(test.tokens, ParseCount(parts[1], text, 1, kMaxTokens));
    if (n == 2) return test;
    DS_ASSIGN(test.depth, ParseCount(parts[2], text, 0, kMaxTokens));
    return test;
  }
  if (parts[0] == "batch" && (n == 3 || n == 4)) {
    DS_ASSIGN(const int64_t sequences, ParseCount(parts[1], text, 1, kMaxSequences));
    test.num_sequences = static_cast<int>(sequences);
    DS_ASSIGN(test.tokens, ParseCount(parts[2], text, 1, kMaxTokens));
    if (n == 3) return test;
    DS_ASSIGN(test.depth, ParseCount(parts[3], text, 0, kMaxTokens));
    return test;
  }
  return Fail("test \"{}\": expected pp:TOKENS, tg:TOKENS[:DEPTH] or batch:SEQUENCES:TOKENS[:DEPTH]", text);
}

std::string BenchTest::Name() const {
  if (kind == Kind::kPrefill) return fmt::format("pp:{}", tokens);
  if (num_sequences == 1) return fmt::format("tg:{}:{}", tokens, depth);
  return fmt::format("batch:{}:{}:{}", num_sequences, tokens, depth);
}

Result<std::vector<BenchTest>> ParseBenchTests(std::string_view text) {
  std::vector<BenchTest> tests;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    DS_ASSIGN(const BenchTest test, BenchTest::Parse(text.substr(0, comma)));
    tests.push_back(test);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return tests;
}

std::vector<BenchTest> DefaultBenchTests(int64_t context_length) {
  constexpr BenchTest::Kind kPrefill = BenchTest::Kind::kPrefill, kDecode = BenchTest::Kind::kDecode;
  const int64_t room = std::max<int64_t>(1, context_length - kWarmSteps);
  const auto within = [&](int64_t tokens) { return std::min(tokens, std::max<int64_t>(1, room / 2)); };
  const int64_t deep = 2048 + 32 <= room ? 2048 : std::max<int64_t>(1, room / 2);
  return {{kPrefill, 1, within(512), 0},
          {kDecode, 1, within(64), 0},
          {kDecode, 1, within(32), deep},
          {kDecode, 8, within(32), within(32)},
          {kDecode, 32, within(16), within(32)}};
}

Spread SpreadOf(std::vector<double> values) {
  DS_CHECK(!values.empty(), "a spread of nothing");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back()};
}

BenchReport MeasureCeilings(Compute& compute, int64_t probe_bytes) {
  constexpr int kProbes = 5;
  constexpr double kPeakSeconds = 0.05;
  BenchReport report;
  report.peak = MeasurePeak(*compute.kernels, *compute.pool, kPeakSeconds);
  ReadProbe probe(*compute.pool, probe_bytes);
  std::vector<double> probes;
  for (int i = 0; i < kProbes; ++i) probes.push_back(probe.Measure());
  report.read_bandwidth = SpreadOf(probes);
  return report;
}

Result<BenchReport> RunBenchmark(const Model& model, Compute& compute, const BenchOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(model, options));
  const int64_t total = static_cast<int64_t>(options.tests.size()) * (options.repetitions + 1);
  int64_t done = 0;
  const auto go_on = [&](const BenchTest& test) {
    return !options.progress || options.progress(done++, total, test.Name());
  };
  BenchReport report;
  report.peak = MeasurePeak(*compute.kernels, *compute.pool, options.peak_seconds);
  ReadProbe probe(*compute.pool, options.probe_bytes);
  std::vector<Runner> runners;
  runners.reserve(options.tests.size());
  for (const BenchTest& test : options.tests) {
    if (!go_on(test)) return Fail("interrupted");
    report.results.emplace_back().test = test;
    runners.emplace_back(model, compute, options, test);
    DS_RETURN_IF_ERROR(runners.back().Prepare(&report.results.back()).WithContext("test " + test.Name()));
  }
  std::vector<double> probes;
  std::vector<std::vector<double>> shares(runners.size());
  for (int r = 0; r < options.repetitions; ++r) {
    double before = probe.Measure();
    probes.push_back(before);
    for (size_t i = 0; i < runners.size(); ++i) {
      BenchResult& result = report.results[i];
      const BenchTest& test = result.test;
      if (!go_on(test)) return Fail("interrupted");
      DS_ASSIGN(const double seconds, runners[i].Measure().WithContext("test " + test.Name()));
      const double after = probe.Measure();
      probes.push_back(after);
      const double rate = static_cast<double>(test.tokens * test.num_sequences) / seconds;
      result.tokens_per_second.push_back(rate);
      shares[i].push_back(rate * result.bytes_per_token / ((before + after) / 2));
      before = after;
    }
  }
  for (size_t i = 0; i < runners.size(); ++i) {
    BenchResult& result = report.results[i];
    result.rate = SpreadOf(result.tokens_per_second);
    result.pass_ms = 1e3 * static_cast<double>(result.test.tokens * result.test.num_sequences) /
                     result.rate.median / static_cast<double>(runners[i].num_passes());
    result.bandwidth = result.rate.median * result.bytes_per_token;
    result.ops = result.rate.median * result.ops_per_token;
    result.bandwidth_share = SpreadOf(shares[i]).median;
  }
  if (options.progress) options.progress(total, total, "");
  report.read_bandwidth = SpreadOf(probes);
  return report;
}

}  // namespace deepshock
