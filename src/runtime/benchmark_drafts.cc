// SPDX-License-Identifier: Apache-2.0
#include "runtime/benchmark_drafts.h"

#include <utility>

#include "runtime/scheduler.h"

namespace deepshock {
namespace {

// Generates the same text again and again, each time from its beginning.
class Generator {
 public:
  Generator(TokenModel& model, const DraftBenchOptions& options, DraftSources drafts)
      : options_(options), scheduler_(model, nullptr, SchedulingOf(options), std::move(drafts)) {}

  Result<GenerationResult> Run() {
    GenerationResult result;
    GenerationRequest request;
    request.prompt = options_.prompt;
    request.max_tokens = options_.tokens;
    request.sampling.temperature = 0;
    request.ignore_eos = true;
    request.on_done = [&](GenerationResult done) { result = std::move(done); };
    scheduler_.Submit(std::move(request));
    while (scheduler_.Step()) {
    }
    DS_RETURN_IF_ERROR(result.status);
    return result;
  }

 private:
  static SchedulerOptions SchedulingOf(const DraftBenchOptions& options) {
    SchedulerOptions scheduling;
    scheduling.draft_tokens = options.draft_tokens;
    scheduling.adapt_drafts = options.speculation == Speculation::kAuto;
    return scheduling;
  }

  const DraftBenchOptions& options_;
  Scheduler scheduler_;
};

}  // namespace

Result<DraftBenchReport> MeasureDrafts(const Model& model, Compute& compute,
                                       const DraftBenchOptions& options) {
  const int64_t context = model.spec().context_length,
                length = static_cast<int64_t>(options.prompt.size()) + options.tokens;
  if (options.prompt.empty()) return Fail("prompt: expected at least one token");
  if (options.tokens < 2) return Fail("generation: expected at least 2 tokens, found {}", options.tokens);
  if (options.repetitions < 1) return Fail("repetitions: expected at least 1, found {}", options.repetitions);
  if (length > context)
    return Fail("prompt and output: expected at most {} tokens, found {}", context, length);
  LoadedModel token_model(model, compute, context, options.kv_type);
  DS_ASSIGN(DraftSources drafts, MakeDraftSources(options.speculation, token_model));
  Generator plain(token_model, options, {}), drafted(token_model, options, std::move(drafts));
  std::vector<double> plain_rates, drafted_rates, gains;
  DraftBenchReport report;
  report.same_output = true;
  for (int r = -1; r < options.repetitions; ++r) {  // the first is not timed
    if (options.progress && !options.progress(r + 1, options.repetitions + 1)) return Fail("interrupted");
    DS_ASSIGN(const GenerationResult without, plain.Run());
    DS_ASSIGN(const GenerationResult with, drafted.Run());
    report.same_output = report.same_output && with.tokens == without.tokens;
    if (r < 0) continue;
    plain_rates.push_back(without.TokensPerSecond());
    drafted_rates.push_back(with.TokensPerSecond());
    gains.push_back(with.TokensPerSecond() / without.TokensPerSecond());
    report.drafted_tokens = with.drafted_tokens;
    report.accepted_tokens = with.accepted_tokens;
  }
  if (options.progress) options.progress(options.repetitions + 1, options.repetitions + 1);
  report.plain = SpreadOf(plain_rates);
  report.drafted = SpreadOf(drafted_rates);
  report.gain = SpreadOf(gains).median;
  return report;
}

}  // namespace deepshock
