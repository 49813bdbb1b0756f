// SPDX-License-Identifier: Apache-2.0
// What counting and tracing routes costs: the same prompts and the same decoding with nobody listening, with
// counters, with counters and four groups, and with counters and a trace, in turns within one process.
//   routing_bench MODEL [ROUNDS] [FOLDER of the trace]
// Prints, for each, the lower quartile of its times (what else the machine does only makes them longer), the
// median of the ratios to "off" of the same round, and the share of the time that was spent in counting and
// tracing themselves, by the clock around each of their calls: that share is the cost, but for what they push
// out of the caches, and other work on the machine moves it little.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "experts/routing_counters.h"
#include "experts/trace.h"
#include "runtime/request_routing.h"
#include "runtime/scheduler.h"

namespace deepshock {
namespace {

struct Workload {
  const char* name;
  int batch_size;
  int64_t prompt_tokens, output_tokens;
};
constexpr Workload kWorkloads[] = {
    {"prompt of 512", 1, 512, 1}, {"decode", 1, 8, 96}, {"decode, 8 together", 8, 8, 48}};
enum Mode { kOff, kCounters, kGroups, kTrace, kNumModes };
constexpr const char* kModes[] = {"off", "counters", "counters, 4 groups", "counters, trace"};

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

using Clock = std::chrono::steady_clock;
double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Adds up the time inside a sink.
class TimedSink final : public RoutingSink {
 public:
  TimedSink(RoutingSink& sink, double* seconds) : sink_(sink), seconds_(seconds) {}
  void OnStep(const RoutingStep& step) override {
    const auto start = Clock::now();
    sink_.OnStep(step);
    *seconds_ += Seconds(Clock::now() - start);
  }

 private:
  RoutingSink& sink_;
  double* seconds_;
};

// A model that adds up the time inside those who observe its routers.
class TimedModel final : public TokenModel {
 public:
  TimedModel(const Model& model, Compute& compute) : model_(model, compute, 2048, KvType::kQ16) {}
  Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                 ForwardOutput* output) override {
    if (observer == nullptr) return model_.Forward(chunks, nullptr, output);
    Timed timed(*observer, &seconds);
    return model_.Forward(chunks, &timed, output);
  }
  RoutingShape routing_shape() const override { return model_.routing_shape(); }
  StateSpec state_spec() const override { return model_.state_spec(); }
  int64_t vocab_size() const override { return model_.vocab_size(); }
  int64_t context_length() const override { return model_.context_length(); }
  double seconds = 0;

 private:
  class Timed final : public ForwardObserver {
   public:
    Timed(ForwardObserver& observer, double* total) : observer_(observer), total_(total) {}
    void OnRouting(const RoutingView& routing) override {
      const auto start = Clock::now();
      observer_.OnRouting(routing);
      *total_ += Seconds(Clock::now() - start);
    }

   private:
    ForwardObserver& observer_;
    double* total_;
  };
  LoadedModel model_;
};

class Bench {
 public:
  Bench(const Model& model, Compute& compute, const std::string& trace_path)
      : model_(model, compute), shape_(model_.routing_shape()), trace_path_(trace_path) {
    auto groups = std::make_shared<GroupMasks>(shape_);
    for (int g = 0; g < 4; ++g) {
      const int first = g * shape_.num_experts / 5;
      const std::string experts = fmt::format("*:{}-{}", first, first + shape_.num_experts / 4);
      const auto ids = ParseExperts(experts, *groups);
      DS_CHECK(ids.ok() && groups->Add(fmt::format("group{}", g), *ids).ok(), "groups");
    }
    groups_ = groups;
  }

  // Seconds of one run; `inside`: of these, in counting and tracing.
  double Run(const Workload& work, Mode mode, double* inside) {
    model_.seconds = 0;
    std::optional<RoutingCounters> counters;
    std::unique_ptr<TraceWriter> trace;
    std::vector<std::unique_ptr<TimedSink>> sinks;
    Scheduler scheduler(model_, nullptr, {work.batch_size, 512, {}});
    if (mode != kOff) {
      counters.emplace(shape_, mode == kGroups ? groups_ : nullptr);
      sinks.push_back(std::make_unique<TimedSink>(*counters, &model_.seconds));
    }
    if (mode == kTrace) {
      auto created = TraceWriter::Create(trace_path_, {"bench", "", shape_}, {});
      DS_CHECK(created.ok(), "the trace can be written");
      trace = std::move(*created);
      sinks.push_back(std::make_unique<TimedSink>(*trace, &model_.seconds));
    }
    for (const auto& sink : sinks) scheduler.AddRoutingSink(sink.get());
    for (int i = 0; i < work.batch_size; ++i) {
      GenerationRequest request;
      for (int64_t t = 0; t < work.prompt_tokens; ++t)
        request.prompt.push_back(
            static_cast<int32_t>(100 + (i * 977 + t * 131) % (model_.vocab_size() - 200)));
      request.max_tokens = work.output_tokens;
      request.sampling.temperature = 0;
      scheduler.Submit(std::move(request));
    }
    const auto start = Clock::now();
    while (scheduler.Step()) {
    }
    const auto end = Clock::now();
    if (trace != nullptr) DS_CHECK(trace->Close().ok(), "the trace can be written");
    *inside = model_.seconds + (trace != nullptr ? Seconds(Clock::now() - end) : 0);
    return Seconds(Clock::now() - start);
  }

 private:
  TimedModel model_;
  RoutingShape shape_;
  std::string trace_path_;
  std::shared_ptr<const GroupMasks> groups_;
};

int Main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: routing_bench MODEL [ROUNDS] [FOLDER]\n");
    return 2;
  }
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 100;
  ThreadPool pool(2);
  Compute compute(BestKernels(), pool);
  const auto model = Model::Load(argv[1], {true, &pool});
  if (!model.ok()) {
    fmt::print(stderr, "routing_bench: error: {}\n", model.message());
    return 1;
  }
  Bench bench(**model, compute, std::string(argc > 3 ? argv[3] : "/tmp") + "/routing_bench.trace");
  for (const Workload& work : kWorkloads) {
    std::vector<std::vector<double>> seconds(kNumModes), ratios(kNumModes), shares(kNumModes);
    double inside = 0;
    for (int mode = 0; mode < kNumModes; ++mode) bench.Run(work, static_cast<Mode>(mode), &inside);
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < kNumModes; ++i) {
        const int mode = (i + round) % kNumModes;
        const double total = bench.Run(work, static_cast<Mode>(mode), &inside);
        seconds[static_cast<size_t>(mode)].push_back(total);
        shares[static_cast<size_t>(mode)].push_back(inside / total);
      }
      for (size_t mode = 0; mode < kNumModes; ++mode)
        ratios[mode].push_back(seconds[mode].back() / seconds[kOff].back());
    }
    const double off = Quantile(seconds[kOff], 0.25);
    const auto tokens = static_cast<double>(
        work.batch_size * (work.output_tokens > 1 ? work.output_tokens : work.prompt_tokens));
    for (size_t mode = 0; mode < kNumModes; ++mode) {
      const double quarter = Quantile(seconds[mode], 0.25);
      fmt::print(
          "{:20} {:20} {:8.0f} tokens/s  {:.2f} % inside, {:+.2f} % by quartiles, {:+.2f} % by pairs "
          "({:+.2f} to "
          "{:+.2f})\n",
          work.name, kModes[mode], tokens / quarter, 100 * Quantile(shares[mode], 0.5),
          100 * (quarter / off - 1), 100 * (Quantile(ratios[mode], 0.5) - 1),
          100 * (Quantile(ratios[mode], 0.25) - 1), 100 * (Quantile(ratios[mode], 0.75) - 1));
    }
  }
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
