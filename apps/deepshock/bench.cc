// SPDX-License-Identifier: Apache-2.0
// `deepshock bench`: prompt, decode, batch and depth speed of a model, against the ceilings of this machine.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>

#include "apps/common/generation_options.h"
#include "apps/common/memory_option.h"
#include "apps/common/terminal.h"
#include "apps/deepshock/commands.h"
#include "base/json.h"
#include "runtime/benchmark.h"
#include "runtime/benchmark_drafts.h"
#include "runtime/memory_use.h"
#include "runtime/model_text.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model;
  std::string tests;  // empty: DefaultBenchTests
  int repetitions = 5;
  int64_t prefill_chunk = 512;
  int64_t probe_mb = 1024;
  bool machine_only = false;
  std::string prompt;
  int64_t generate = 128;
  GenerationFlags drafts;  // only --speculation and --draft_tokens
};

// What is printed besides the report.
struct Facts {
  std::string path;
  const ModelSpec* spec = nullptr;
  WeightTotals totals;
  int64_t file_bytes = 0;  // 0: unknown
  double load_seconds = 0;
  int64_t peak_memory = 0;
  std::string kernels;
  int threads = 0;
};

int64_t PeakMemory() {
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

nlohmann::ordered_json ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

nlohmann::ordered_json CeilingsToJson(const BenchReport& report) {
  return {{"read_bytes_per_second", ToJson(report.read_bandwidth)},
          {"int8_ops_per_second", report.peak.int8_ops},
          {"float32_ops_per_second", report.peak.float_ops}};
}

nlohmann::ordered_json ToJson(const MemoryUse& use) {
  return {{"always_resident_bytes", use.always_resident_bytes},
          {"experts", use.num_experts},
          {"expert_bytes", use.expert_bytes},
          {"resident_experts", use.resident_experts},
          {"resident_expert_bytes", use.resident_expert_bytes},
          {"capacity", use.capacity},
          {"hits", use.hits},
          {"misses", use.misses},
          {"bytes_read", use.bytes_read},
          {"stall_seconds", use.stall_seconds},
          {"reader", use.reader}};
}

nlohmann::ordered_json ToJson(const BenchReport& report, const Facts& facts) {
  nlohmann::ordered_json tests = nlohmann::ordered_json::array();
  for (const BenchResult& r : report.results) {
    nlohmann::ordered_json rate = ToJson(r.rate);
    rate["values"] = r.tokens_per_second;
    tests.push_back({{"test", r.test.Name()},
                     {"sequences", r.test.num_sequences},
                     {"tokens", r.test.tokens},
                     {"depth", r.test.depth},
                     {"tokens_per_second", rate},
                     {"pass_ms", r.pass_ms},
                     {"bytes_per_token", r.bytes_per_token},
                     {"bytes_per_second", r.bandwidth},
                     {"share_of_read_bandwidth", r.bandwidth_share},
                     {"ops_per_token", r.ops_per_token},
                     {"ops_per_second", r.ops},
                     {"share_of_int8_peak", r.ops / report.peak.int8_ops}});
  }
  return {{"model", facts.path},
          {"architecture", facts.spec->architecture},
          {"name", facts.spec->name},
          {"parameters", facts.totals.parameters},
          {"active_parameters", facts.totals.active_parameters},
          {"weight_bytes", facts.totals.bytes},
          {"active_bytes", facts.totals.active_bytes},
          {"version", DEEPSHOCK_VERSION},
          {"kernels", facts.kernels},
          {"threads", facts.threads},
          {"load_seconds", facts.load_seconds},
          {"peak_memory_bytes", facts.peak_memory},
          {"file_bytes", facts.file_bytes},
          {"ceilings", CeilingsToJson(report)},
          {"tests", tests}};
}

std::string Describe(const BenchTest& test) {
  if (test.kind == BenchTest::Kind::kPrefill) return fmt::format("prompt of {}", test.tokens);
  std::string text =
      test.num_sequences == 1 ? "decode" : fmt::format("decode, {} together", test.num_sequences);
  if (test.depth > 0) text += fmt::format(", after {}", test.depth);
  return text;
}

std::string DescribeMachine(const BenchReport& report, int threads, const std::string& kernels) {
  const Spread& read = report.read_bandwidth;
  return fmt::format(
      "machine  {} threads, {}; reads {:.1f} GB/s ({:.1f} to {:.1f}), {:.0f} Gop/s in int8, {:.0f} in "
      "float32\n",
      threads, kernels, read.median / 1e9, read.min / 1e9, read.max / 1e9, report.peak.int8_ops / 1e9,
      report.peak.float_ops / 1e9);
}

std::string ToTable(const BenchReport& report, const Facts& facts) {
  const auto mega = [](double value) { return value / 1e6; };
  const auto giga = [](double value) { return value / 1e9; };
  std::string out = fmt::format(
      "model    {}: {:.2f} B parameters, {:.2f} B active; {:.1f} MB, of which a token reads {:.1f} MB\n",
      facts.spec->name.empty() ? facts.spec->architecture : SafeForTerminal(facts.spec->name),
      giga(static_cast<double>(facts.totals.parameters)),
      giga(static_cast<double>(facts.totals.active_parameters)),
      mega(static_cast<double>(facts.totals.bytes)), mega(static_cast<double>(facts.totals.active_bytes)));
  out += DescribeMachine(report, facts.threads, facts.kernels);
  out += fmt::format("load     {:.2f} s; peak memory {:.1f} MB\n\n", facts.load_seconds,
                     mega(static_cast<double>(facts.peak_memory)));
  out += fmt::format("{:<28} {:>9} {:>17} {:>10} {:>9} {:>7} {:>7} {:>7} {:>7}\n", "", "tokens/s",
                     "min to max", "ms a pass", "MB/token", "GB/s", "of read", "Gop/s", "of int8");
  for (const BenchResult& r : report.results) {
    out +=
        fmt::format("{:<28} {:>9.1f} {:>17} {:>10.2f} {:>9.1f} {:>7.1f} {:>6.0f}% {:>7.0f} {:>6.0f}%\n",
                    Describe(r.test), r.rate.median, fmt::format("{:.1f} to {:.1f}", r.rate.min, r.rate.max),
                    r.pass_ms, mega(r.bytes_per_token), giga(r.bandwidth), 100 * r.bandwidth_share,
                    giga(r.ops), 100 * r.ops / report.peak.int8_ops);
  }
  return out;
}

// --machine: the ceilings alone.
Result<int> BenchMachine(const Options& options) {
  DS_ASSIGN(const Machine machine, MakeMachine(options));
  const BenchReport report = MeasureCeilings(*machine.compute, options.probe_mb << 20);
  const std::string kernels(machine.compute->kernels->name);
  const nlohmann::ordered_json json = {{"version", DEEPSHOCK_VERSION},
                                       {"kernels", kernels},
                                       {"threads", machine.pool->num_threads()},
                                       {"ceilings", CeilingsToJson(report)}};
  DS_RETURN_IF_ERROR(WriteStdout(
      options.json ? json.dump() + "\n" : DescribeMachine(report, machine.pool->num_threads(), kernels)));
  return 0;
}

// --prompt: what drafts gain on it.
Result<DraftBenchReport> BenchDrafts(const Options& options, const Facts& facts, const Model& model,
                                     Compute& compute, KvType kv_type) {
  EngineOptions engine;
  DS_RETURN_IF_ERROR(ApplySpeculationFlags(options.drafts, &engine));
  DS_ASSIGN(const ModelText text, LoadModelText(facts.path));
  DraftBenchOptions bench;
  bench.prompt = text.EncodePrompt(options.prompt);
  bench.tokens = options.generate;
  bench.repetitions = options.repetitions;
  bench.speculation = engine.speculation;
  bench.draft_tokens = engine.draft_tokens;
  bench.kv_type = kv_type;
  Progress bar("generations", bench.repetitions + 1, options.quiet);
  bench.progress = [&](int64_t done, int64_t) {
    bar.Update(done);
    return !Interrupted();
  };
  Result<DraftBenchReport> report = MeasureDrafts(model, compute, bench);
  bar.Finish();
  return report;
}

nlohmann::ordered_json ToJson(const DraftBenchReport& report) {
  return {{"tokens_per_second", ToJson(report.drafted)},
          {"tokens_per_second_without", ToJson(report.plain)},
          {"gain", report.gain},
          {"drafted_tokens", report.drafted_tokens},
          {"accepted_tokens", report.accepted_tokens},
          {"same_output", report.same_output}};
}

std::string ToTable(const DraftBenchReport& report, int64_t tokens) {
  return fmt::format(
      "\ngenerate {} from the prompt: {:.1f} tokens/s ({:.1f} to {:.1f}) without drafts, {:.1f} ({:.1f} to "
      "{:.1f}) "
      "with: {:.2f} times; {} of {} drafts right; {} output\n",
      tokens, report.plain.median, report.plain.min, report.plain.max, report.drafted.median,
      report.drafted.min, report.drafted.max, report.gain, report.accepted_tokens, report.drafted_tokens,
      report.same_output ? "the same" : "DIFFERENT");
}

Result<int> Bench(const Options& options) {
  if (options.machine_only) return BenchMachine(options);
  BenchOptions bench;
  DS_ASSIGN(bench.tests, ParseBenchTests(options.tests).WithContext("--tests"));  // before loading
  DS_ASSIGN(bench.kv_type, KvTypeByName(!options.kv_type.empty()           ? options.kv_type
                                        : options.activations == "float32" ? "f32"
                                                                           : "q16"));
  bench.repetitions = options.repetitions;
  bench.prefill_chunk = options.prefill_chunk;
  bench.probe_bytes = options.probe_mb << 20;
  Facts facts;
  DS_ASSIGN(facts.path, FindModelArgument(options.model));
  DS_ASSIGN(Machine machine, MakeMachine(options));
  const auto start = std::chrono::steady_clock::now();
  DS_ASSIGN(const int64_t memory_bytes, MemoryBytes(options));
  DS_ASSIGN(const auto model,
            Model::Load(facts.path,
                        {options.activations == "int8", machine.pool.get(), {memory_bytes, bench.kv_type}}));
  facts.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (bench.tests.empty()) bench.tests = DefaultBenchTests(model->spec().context_length);
  CatchInterrupts();
  Progress bar("measurements", static_cast<int64_t>(bench.tests.size()) * (bench.repetitions + 1),
               options.quiet);
  bench.progress = [&](int64_t done, int64_t, const std::string& test) {
    bar.Update(done, test);
    return !Interrupted();
  };
  const Result<BenchReport> report = RunBenchmark(*model, *machine.compute, bench);
  bar.Finish();
  if (!report.ok() && Interrupted()) return kExitInterrupted;
  if (!report.ok()) return report.status();
  facts.spec = &model->spec();
  facts.totals = CountWeights(model->spec(), model->weights());
  std::error_code error;
  const auto size = std::filesystem::file_size(facts.path, error);
  facts.file_bytes = error ? 0 : static_cast<int64_t>(size);
  facts.peak_memory = PeakMemory() - bench.probe_bytes;
  facts.kernels = machine.compute->kernels->name;
  facts.threads = machine.pool->num_threads();
  nlohmann::ordered_json json = ToJson(*report, facts);
  std::string table = ToTable(*report, facts);
  if (const std::optional<MemoryUse> use = MemoryUseOf(model->memory())) {
    json["memory"] = ToJson(*use);
    table += "\n" + DescribeMemory(*use) + "\n";
  }
  if (!options.prompt.empty()) {
    const auto drafts = BenchDrafts(options, facts, *model, *machine.compute, bench.kv_type);
    if (!drafts.ok() && Interrupted()) return kExitInterrupted;
    if (!drafts.ok()) return drafts.status().WithContext("--prompt");
    json["drafts"] = ToJson(*drafts);
    table += ToTable(*drafts, options.generate);
  }
  DS_RETURN_IF_ERROR(
      WriteStdout(options.json ? json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n" : table));
  return 0;
}

}  // namespace

Command AddBench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "bench", "Measure speed: prompts, decoding, batches, long contexts, against this machine's ceilings");
  app->add_option("MODEL", options->model, kModelHelp);
  app->add_option(
         "--tests", options->tests,
         "What to measure, separated by commas. pp:N a prompt of N tokens; tg:N[:DEPTH] N tokens one by one, "
         "after DEPTH others; batch:SEQUENCES:N[:DEPTH] sequences decoded together (default: "
         "pp:512,tg:64,tg:32:2048,batch:8:32:32,batch:32:16:32, shorter where the model's context is)")
      ->type_name("TESTS");
  app->add_option("--repetitions", options->repetitions, "Of each test; medians are reported")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app->add_option("--prefill_chunk", options->prefill_chunk, "Prompt tokens computed in one pass")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app->add_option("--probe_mb", options->probe_mb,
                  "Size of the buffer that is read to measure the memory; several times the last-level cache")
      ->type_name("MB")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app->add_option("--prompt", options->prompt,
                  "Also generate from this text, greedily, with and without drafts of next tokens")
      ->type_name("TEXT");
  app->add_option("--generate", options->generate, "Tokens to generate from it")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  app->add_option("--speculation", options->drafts.speculation,
                  "Who drafts: auto (while it pays), mtp, ngram (default: auto)")
      ->check(CLI::IsMember({"auto", "mtp", "ngram"}));
  app->add_option("--draft_tokens", options->drafts.draft_tokens,
                  "Most tokens to guess for a pass (default: 3)")
      ->type_name("N")
      ->check(CLI::Range(1, kMaxDraftTokens));
  app->add_flag("--machine", options->machine_only, "Measure the machine's ceilings only, no model");
  AddCommonOptions(*app, kInferenceOptions | kMemoryOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "Bytes are those of the weights and states that a pass reads, each once; operations those of the "
      "weights'\n"
      "products. The ceilings are measured in the same run: reading a large buffer, and dot products in "
      "registers.\n"
      "docs/benchmarks.md tells how to compare with other engines.\n\n"
      "Examples:\n"
      "  deepshock bench\n"
      "  deepshock bench v2-lite.gguf --threads 2 --tests pp:512,tg:64\n"
      "  deepshock bench --tests tg:64 --prompt \"def main(\" --speculation mtp\n"
      "  deepshock bench v2-lite.gguf --json | jq '.tests[].tokens_per_second.median'");
  return {app, [options] { return Bench(*options); }};
}

}  // namespace deepshock
