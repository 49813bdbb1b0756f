// SPDX-License-Identifier: Apache-2.0
// deepseek-infer: batch inference. Its option names are documented ones and stay as they are.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "apps/common/expert_options.h"
#include "apps/common/generation_options.h"
#include "apps/common/memory_option.h"
#include "apps/common/options.h"
#include "apps/common/program.h"
#include "apps/common/records.h"
#include "apps/common/routing_report.h"
#include "apps/common/terminal.h"
#include "apps/deepseek_infer/batch.h"
#include "base/output_file.h"

namespace deepshock {
namespace {

struct InferOptions : CommonOptions {
  std::string model;
  ExpertFlags experts;
  int batch_size = 32;
  std::string batching = "fifo";
  int64_t context = 0;
  std::string prompt;
  bool has_prompt = false;
  std::string input;
  std::string output;
  bool chat = false;
  GenerationFlags generation;
};

constexpr int64_t kDefaultMaxTokens = 256;
constexpr double kBatchWaitMs = 600e3;  // nobody waits for a single answer

// One prompt: its text is streamed to stdout, or becomes a record.
Result<int> RunPrompt(Engine& engine, const InferOptions& options, GenerationRequest request) {
  const bool as_record = options.json || !options.output.empty();
  const bool safe = ::isatty(STDOUT_FILENO) == 1;
  PromptRecord record;
  record.prompt = options.prompt;
  DS_RETURN_IF_ERROR(ApplyRecord(record, engine, options.chat, &request));
  Status output_status;
  std::string last;
  request.on_token = [&](const StreamedToken& token) {
    if (Interrupted()) return false;
    if (as_record || token.text.empty()) return true;
    last = safe ? SafeForTerminal(token.text) : std::string(token.text);
    output_status = WriteStdout(last);
    return output_status.ok();
  };
  const bool sampled = request.sampling.temperature > 0;
  GenerationResult result;
  bool done = false;
  request.on_done = [&](GenerationResult finished) {
    result = std::move(finished);
    done = true;
  };
  engine.Submit(std::move(request));
  while (!done && !Interrupted()) engine.Step();
  DS_RETURN_IF_ERROR(output_status);
  if (!done || result.finish_reason == FinishReason::kCancelled) return kExitInterrupted;
  DS_RETURN_IF_ERROR(result.status);
  if (!as_record) {
    if (!last.ends_with('\n')) DS_RETURN_IF_ERROR(WriteStdout("\n"));
    if (result.routing) std::fprintf(stderr, "[%s]\n", DescribeAudit(*result.routing).c_str());
    if (result.experts) std::fputs(DescribeAnswerExperts(*result.experts).c_str(), stderr);
    return 0;
  }
  const std::string line = ResultRecord(0, record, engine, result, sampled) + "\n";
  if (options.output.empty() || options.output == "-") {
    DS_RETURN_IF_ERROR(WriteStdout(line));
    return 0;
  }
  DS_ASSIGN(OutputFile file, OutputFile::Create(options.output));
  DS_RETURN_IF_ERROR(file.Write(line));
  DS_RETURN_IF_ERROR(file.Commit());
  return 0;
}

Result<int> Infer(const InferOptions& options) {
  BatchOptions batch;
  batch.defaults.max_tokens = kDefaultMaxTokens;
  batch.defaults.sampling.temperature = 0;
  DS_RETURN_IF_ERROR(ApplyGenerationFlags(options.generation, &batch.defaults));
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  EngineOptions engine_options;
  DS_ASSIGN(engine_options.num_threads, NumThreads(options));
  engine_options.kernels = options.kernels;
  engine_options.activations = options.activations;
  engine_options.kv_type = options.kv_type;
  engine_options.batch_size = options.has_prompt ? 1 : options.batch_size;
  engine_options.steady_streams = false;
  engine_options.context_length = options.context;
  if (options.batching == "expert") {
    engine_options.batching = Batching::kExpert;
    engine_options.batch_wait_ms = kBatchWaitMs;
    batch.ahead = 16;
  }
  DS_ASSIGN(engine_options.memory_bytes, MemoryBytes(options));
  engine_options.groups_path = options.experts.groups;
  DS_RETURN_IF_ERROR(ApplySpeculationFlags(options.generation, &engine_options));
  DS_ASSIGN(const std::unique_ptr<Engine> engine, Engine::Load(path, engine_options));
  DS_RETURN_IF_ERROR(StartTrace(options.generation.routing, *engine));
  if (options.chat) DS_RETURN_IF_ERROR(engine->ChatTemplateStatus());
  CatchInterrupts();
  DS_RETURN_IF_ERROR(PrepareExperts(options.experts, options.quiet, *engine));
  const auto told = [&](Result<int> exit_code) -> Result<int> {
    if (!options.quiet) PrintMemoryUse(engine->memory_use());
    if (exit_code.ok()) DS_RETURN_IF_ERROR(SaveWarmSet(options.experts, *engine));
    return exit_code;
  };
  if (options.has_prompt) return told(RunPrompt(*engine, options, batch.defaults));
  batch.input = options.input;
  batch.output = options.output;
  batch.chat = options.chat;
  batch.quiet = options.quiet;
  batch.batch_size = options.batch_size;
  return told(RunBatch(*engine, batch));
}

void AddOptions(CLI::App& app, InferOptions* options) {
  app.add_option("--model,-m", options->model, kModelHelp)->required()->type_name("MODEL");
  app.add_option("--batch_size,--batch-size", options->batch_size, "Sequences computed together")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  app.add_option("--batching", options->batching,
                 "fifo: in the order of the input; expert: those together that use the same experts")
      ->capture_default_str()
      ->check(CLI::IsMember({"fifo", "expert"}));
  app.add_option("--context", options->context, "Longest prompt and output together (default: the model's)")
      ->type_name("N");
  CLI::Option* prompt =
      app.add_option("--prompt,-p", options->prompt, "Continue this text, print what follows")
          ->type_name("TEXT")
          ->each([options](const std::string&) { options->has_prompt = true; });
  app.add_option("--input,-i", options->input, "Requests, a JSON object a line (default: stdin)")
      ->type_name("FILE.jsonl")
      ->excludes(prompt);
  app.add_option("--output,-o", options->output, "Results, a JSON object a line (default: stdout)")
      ->type_name("FILE.jsonl");
  app.add_flag("--chat", options->chat, "Put prompts through the model's chat template as a user's message");
  AddExpertOptions(app, &options->experts);
  AddGenerationOptions(app, &options->generation, std::to_string(kDefaultMaxTokens),
                       "greedy, whatever generation_config.json says");
  AddCommonOptions(app, kInferenceOptions | kMemoryOption | kJsonOption | kQuietOption, options);
  app.footer(
      "Input records: {\"prompt\": TEXT} or {\"messages\": [...], \"tools\": [...]}, and optionally id,\n"
      "metadata, max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,\n"
      "frequency_penalty, logit_bias, seed, stop, ignore_eos, logprobs, response_format; ban_experts,\n"
      "bias_experts, boost_experts, experts_per_token, adaptive_experts, min_experts, explain_experts;\n"
      "expert_type, the group of experts that it will use most, for --batching expert. What a record does\n"
      "not say, the options say.\n"
      "Output records, in the order of the input: {\"index\", \"id\", \"text\", \"finish_reason\", "
      "\"usage\"},\n"
      "with \"routing\" (what was changed) and \"experts\" (who answered) where that was asked,\n"
      "or {\"index\", \"line\", \"id\", \"error\"} for one that failed; the others go on, the exit code "
      "stays 0.\n"
      "--output is written beside and renamed when all is done.\n"
      "\n"
      "Examples:\n"
      "  deepseek-infer --model MODEL --prompt \"The kernel allocates\" --max_tokens 64\n"
      "  deepseek-infer --model MODEL --batch_size 32 --input prompts.jsonl --output answers.jsonl\n"
      "  echo '{\"id\": 1, \"prompt\": \"The kernel\"}' | deepseek-infer --model MODEL");
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) {
  CLI::App app("Batch inference: JSON lines in, JSON lines out.", "deepseek-infer");
  deepshock::InferOptions options;
  deepshock::AddOptions(app, &options);
  const std::vector<deepshock::Command> commands = {{&app, [&options] { return deepshock::Infer(options); }}};
  return deepshock::RunProgram(app, commands, argc, argv);
}
