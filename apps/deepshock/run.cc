// SPDX-License-Identifier: Apache-2.0
// `deepshock run`: generate once, or chat in the terminal.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "apps/common/expert_options.h"
#include "apps/common/generation_options.h"
#include "apps/common/memory_option.h"
#include "apps/common/records.h"
#include "apps/common/terminal.h"
#include "apps/deepshock/chat.h"
#include "apps/deepshock/commands.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace deepshock {
namespace {

struct RunOptions : CommonOptions {
  std::string model;
  std::string prompt;
  bool has_prompt = false;
  std::string system;
  bool raw = false;
  std::string json_schema;
  int64_t context = 0;
  ExpertFlags experts;
  GenerationFlags generation;
};

constexpr size_t kMaxStdinBytes = 64u << 20;
constexpr size_t kMaxSchemaBytes = 4u << 20;

// For models that recommend nothing.
SamplingOptions DefaultSampling() {
  SamplingOptions sampling;
  sampling.temperature = 0.7;
  sampling.top_p = 0.95;
  return sampling;
}

// The whole of a piped stdin, without the newline that echo and editors put at its end.
Result<std::string> ReadStdin() {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail("stdin: cannot read: {}", std::strerror(errno));
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxStdinBytes)
      return Fail("stdin: expected a prompt of at most {} bytes", kMaxStdinBytes);
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.empty()) return Fail("stdin: expected a prompt, found nothing; give one with --prompt TEXT");
  return text;
}

// Keeps the order of keys, which is that of the output.
Result<nlohmann::ordered_json> ReadSchema(const std::string& path) {
  DS_ASSIGN(const std::string text, ReadFile(path, kMaxSchemaBytes));
  DS_RETURN_IF_ERROR(ParseJson(text).status().WithContext(path));
  return nlohmann::ordered_json::parse(text);
}

Result<int> AnswerOnce(const Engine& engine, Chat& chat, const RunOptions& options, double load_seconds) {
  std::string text = options.prompt;
  if (!options.has_prompt) {
    DS_ASSIGN(text, ReadStdin());
  }
  CatchInterrupts();
  DS_ASSIGN(const GenerationResult result, chat.Answer(text, !options.json));
  if (options.json) {
    PromptRecord record;
    DS_RETURN_IF_ERROR(WriteStdout(ResultRecord(0, record, engine, result, true) + "\n"));
  } else {
    std::fputs(chat.LastExperts().c_str(), stderr);
  }
  if (!options.quiet) {
    std::fprintf(stderr, "[%s, load %.2f s]\n", chat.LastStatistics().c_str(), load_seconds);
    PrintMemoryUse(engine.memory_use());
  }
  return result.finish_reason == FinishReason::kCancelled ? kExitInterrupted : 0;
}

Result<int> Run(const RunOptions& options) {
  const auto started = std::chrono::steady_clock::now();
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  EngineOptions engine_options;
  DS_ASSIGN(engine_options.num_threads, NumThreads(options));
  engine_options.kernels = options.kernels;
  engine_options.activations = options.activations;
  engine_options.kv_type = options.kv_type;
  engine_options.context_length = options.context;
  DS_ASSIGN(engine_options.memory_bytes, MemoryBytes(options));
  engine_options.groups_path = options.experts.groups;
  DS_RETURN_IF_ERROR(ApplySpeculationFlags(options.generation, &engine_options));
  DS_ASSIGN(const std::unique_ptr<Engine> engine, Engine::Load(path, engine_options));
  DS_RETURN_IF_ERROR(StartTrace(options.generation.routing, *engine));
  DS_RETURN_IF_ERROR(PrepareExperts(options.experts, options.quiet, *engine));

  bool raw = options.raw;
  const Status chat_template = engine->ChatTemplateStatus();
  if (!raw && !chat_template.ok()) {
    if (!options.system.empty()) return chat_template.WithContext("--system needs a chat template");
    if (!options.quiet) PrintWarning(chat_template.message() + "; continuing prompts as they are");
    raw = true;
  }
  if (raw && !options.system.empty()) return Fail("--system: expected a chat, found --raw");

  GenerationRequest defaults;
  defaults.sampling = engine->recommended_sampling().value_or(DefaultSampling());
  DS_RETURN_IF_ERROR(ApplyGenerationFlags(options.generation, &defaults));
  Chat chat(*engine, raw, options.system, std::move(defaults));
  if (!options.json_schema.empty()) {
    DS_ASSIGN(nlohmann::ordered_json schema, ReadSchema(options.json_schema));
    DS_RETURN_IF_ERROR(engine->ConstrainToJsonSchema(schema).status().WithContext(options.json_schema));
    chat.SetSchema(std::move(schema));
  }
  const double load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (options.has_prompt || ::isatty(STDIN_FILENO) != 1) {
    DS_ASSIGN(const int exit_code, AnswerOnce(*engine, chat, options, load_seconds));
    DS_RETURN_IF_ERROR(SaveWarmSet(options.experts, *engine));
    return exit_code;
  }
  if (options.json) return Fail("--json: expected --prompt or a piped prompt with it");
  if (!options.quiet) {
    const ModelInfo& info = engine->info();
    std::fprintf(stderr, "%s (%s), context %lld tokens, loaded in %.2f s. ",
                 SafeForTerminal(info.name.empty() ? path : info.name).c_str(), info.architecture.c_str(),
                 static_cast<long long>(info.context_length), load_seconds);
  }
  DS_ASSIGN(const int exit_code, RunInteractive(chat, options.quiet));
  if (!options.quiet) PrintMemoryUse(engine->memory_use());
  DS_RETURN_IF_ERROR(SaveWarmSet(options.experts, *engine));
  return exit_code;
}

}  // namespace

Command AddRun(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* app = program.add_subcommand("run", "Generate text, or chat in the terminal");
  app->add_option("MODEL", options->model, std::string(kModelHelp) + " (default: the embedded tiny-moe)");
  app->add_option("--prompt,-p", options->prompt,
                  "Answer this and end (default: chat, or read a piped stdin)")
      ->type_name("TEXT")
      ->each([options = options.get()](const std::string&) { options->has_prompt = true; });
  app->add_option("--system", options->system, "System prompt")->type_name("TEXT");
  app->add_flag("--raw", options->raw, "No chat template: continue the prompt as it is");
  app->add_option("--context", options->context, "Longest prompt and output together (default: the model's)")
      ->type_name("N");
  app->add_option("--json-schema,--json_schema", options->json_schema,
                  "Answers are JSON that this JSON Schema finds valid")
      ->type_name("FILE");
  AddExpertOptions(*app, &options->experts);
  AddGenerationOptions(*app, &options->generation, "until the model ends or the context is full",
                       "generation_config.json, else temperature 0.7 and top_p 0.95");
  AddCommonOptions(*app, kInferenceOptions | kMemoryOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "The prompt goes through the model's chat template; a model without one continues it. Speed and time\n"
      "to first token are told on stderr.\n"
      "\n"
      "Examples:\n"
      "  deepshock run                                          chat with the embedded model\n"
      "  deepshock run deepseek-ai/DeepSeek-V2-Lite-Chat        chat with a downloaded model\n"
      "  deepshock run MODEL --prompt \"Hello\" --temperature 0   answer once, always the same\n"
      "  deepshock run big.repacked.gguf --memory 6G             larger than memory: experts stay on disk\n"
      "  git diff | deepshock run MODEL --system \"Review this\"");
  return {app, [options] { return Run(*options); }};
}

}  // namespace deepshock
