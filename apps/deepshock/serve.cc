// SPDX-License-Identifier: Apache-2.0
// `deepshock serve`: the HTTP server.
#include <fmt/chrono.h>
#include <malloc.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "apps/common/config_file.h"
#include "apps/common/expert_options.h"
#include "apps/common/generation_options.h"
#include "apps/common/memory_option.h"
#include "apps/common/terminal.h"
#include "apps/deepshock/commands.h"
#include "base/byte_size.h"
#include "serve/http_server.h"
#include "serve/server.h"

namespace deepshock {
namespace {

constexpr const char* kKeyVariable = "DEEPSHOCK_API_KEY";
constexpr std::chrono::milliseconds kPoll{50};

struct ServeCommandOptions : CommonOptions {
  std::string model, name, config;
  HttpServerOptions http;
  std::string max_body = "32M", prefix_cache = "512M";
  std::vector<std::string> api_keys, cors;
  std::string api_keys_file;
  KeyLimits limits;
  int batch_size = 32, prefill_chunk = 256;
  int64_t context = 0, max_waiting = 1024;
  std::string batching = "fifo";
  double batch_wait_ms = 50;
  std::string prefix_cache_folder;
  double drain_seconds = 30;
  std::string log = "text";
  ExpertFlags experts;
  GenerationFlags generation;
};

Result<EngineOptions> MakeEngineOptions(const ServeCommandOptions& options) {
  EngineOptions engine;
  DS_ASSIGN(engine.num_threads, NumThreads(options));
  engine.kernels = options.kernels;
  engine.activations = options.activations;
  engine.kv_type = options.kv_type;
  engine.context_length = options.context;
  engine.batch_size = options.batch_size;
  engine.prefill_chunk = options.prefill_chunk;
  engine.max_waiting = options.max_waiting;
  engine.batching = options.batching == "expert" ? Batching::kExpert : Batching::kFifo;
  engine.batch_wait_ms = options.batch_wait_ms;
  DS_ASSIGN(engine.memory_bytes, MemoryBytes(options));
  if (options.prefix_cache != "0") {
    Result<int64_t> cache = ParseByteSize(options.prefix_cache);
    if (!cache.ok()) return cache.status().WithContext("--prefix_cache");
    engine.prefix_cache_bytes = *cache;
  }
  engine.prefix_cache_folder = options.prefix_cache_folder;
  engine.groups_path = options.experts.groups;
  DS_RETURN_IF_ERROR(ApplySpeculationFlags(options.generation, &engine));
  return engine;
}

// What requests call a model that has no name of its own: the file's or folder's, without ".gguf".
std::string NameOf(const std::string& path) {
  std::filesystem::path file = std::filesystem::path(path).lexically_normal();
  if (!file.has_filename()) file = file.parent_path();
  return file.extension() == ".gguf" ? file.stem().string() : file.filename().string();
}

Result<std::shared_ptr<ServedModel>> LoadServedModel(const ServeCommandOptions& options,
                                                     const std::string& given_name,
                                                     const std::string& model) {
  DS_ASSIGN(const std::string path, FindModelArgument(model));
  DS_ASSIGN(const EngineOptions engine_options, MakeEngineOptions(options));
  DS_ASSIGN(std::unique_ptr<Engine> engine, Engine::Load(path, engine_options));
  DS_RETURN_IF_ERROR(StartTrace(options.generation.routing, *engine));
  DS_RETURN_IF_ERROR(PrepareExperts(options.experts, options.quiet, *engine));
  GenerationRequest defaults;
  defaults.sampling = engine->recommended_sampling().value_or(SamplingOptions());
  DS_RETURN_IF_ERROR(ApplyGenerationFlags(options.generation, &defaults));
  return std::make_shared<ServedModel>(given_name.empty() ? NameOf(path) : given_name, path,
                                       std::move(engine), std::move(defaults.sampling));
}

Result<AccessOptions> MakeAccess(const ServeCommandOptions& options) {
  AccessOptions access;
  std::vector<std::string> secrets = options.api_keys;
  if (const char* variable = std::getenv(kKeyVariable); variable != nullptr && *variable != '\0') {
    secrets.emplace_back(variable);
  }
  for (const std::string& secret : secrets) {
    DS_ASSIGN(ApiKey key, MakeApiKey(fmt::format("key-{}", access.keys.size() + 1), secret));
    key.limits = options.limits;
    key.admin = true;
    access.keys.push_back(std::move(key));
  }
  if (!options.api_keys_file.empty()) {
    DS_ASSIGN(std::vector<ApiKey> keys, ReadKeysFile(options.api_keys_file));
    for (ApiKey& key : keys) access.keys.push_back(std::move(key));
  }
  access.open = options.limits;
  return access;
}

std::string Quoted(const std::string& text) {
  std::string json;
  AppendJsonString(text, &json);
  return json;
}

std::string Timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                     ms);
}

std::string JsonLine(const CallLog& entry) {
  return fmt::format(
      R"({{"time": "{}", "id": {}, "remote": {}, "key": {}, "method": {}, "path": {}, "status": {}, "model": {}, )"
      R"("choices": {}, "prompt_tokens": {}, "cached_prompt_tokens": {}, "output_tokens": {}, "queue_ms": {:.1f}, )"
      R"("first_token_ms": {:.1f}, "total_ms": {:.1f}, "client_left": {}, "error": {}}})",
      Timestamp(), Quoted(entry.id), Quoted(entry.remote), Quoted(entry.key), Quoted(entry.method),
      Quoted(entry.path), entry.status, Quoted(entry.model), entry.choices, entry.prompt_tokens,
      entry.cached_prompt_tokens, entry.output_tokens, entry.queue_ms, entry.first_token_ms, entry.total_ms,
      entry.client_left, Quoted(entry.error));
}

std::string TextLine(const CallLog& entry) {
  std::string line =
      fmt::format("{} {} {} {} {}", Timestamp(), entry.remote, entry.status, entry.method, entry.path);
  if (entry.choices > 0) {
    line += fmt::format(" {} -> {} tokens, first after {:.0f} ms", entry.prompt_tokens, entry.output_tokens,
                        entry.first_token_ms);
  }
  line += fmt::format(", {:.0f} ms", entry.total_ms);
  if (entry.client_left) line += ", client left";
  if (!entry.error.empty()) line += ": " + entry.error;
  return SafeForTerminal(line);
}

Call::Log MakeLog(const std::string& form) {
  if (form == "off") return {};
  const bool json = form == "json";
  // One write a line: lines of several threads do not mix.
  return [json](const CallLog& entry) {
    const std::string line = (json ? JsonLine(entry) : TextLine(entry)) + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
  };
}

// A connection is a file descriptor; the usual limit of 1024 is for programs that have few.
void AllowManyConnections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Answers are allocated by one thread and freed by another. glibc would give each thread a heap of its own,
// and memory that is free in one is of no use to another: a server under load kept growing.
void ShareOneHeap() {
#ifdef __GLIBC__
  ::mallopt(M_ARENA_MAX, 1);
#endif
}

Result<int> Serve(const ServeCommandOptions& options) {
  ShareOneHeap();
  DS_ASSIGN(AccessOptions access, MakeAccess(options));
  HttpServerOptions http = options.http;
  Result<int64_t> max_body = ParseByteSize(options.max_body);
  if (!max_body.ok()) return max_body.status().WithContext("--max_body");
  http.max_body_bytes = static_cast<size_t>(*max_body);
  AllowManyConnections();
  CatchInterrupts();
  const bool open = access.keys.empty();

  ServerOptions server_options;
  server_options.access = std::move(access);
  server_options.cors_origins = options.cors;
  server_options.log = MakeLog(options.log);
  server_options.load_model = [&options](const std::string& name, const std::string& path) {
    ServeCommandOptions other = options;
    other.generation.routing.trace.clear();  // it is the first model's, which may still write it
    return LoadServedModel(other, name, path);
  };
  Server server(std::move(server_options));
  // Listens first: /health answers while the model loads, and a port that is taken is told at once.
  DS_ASSIGN(const std::unique_ptr<HttpServer> listener, HttpServer::Start(http, server));
  DS_ASSIGN(std::shared_ptr<ServedModel> model, LoadServedModel(options, options.name, options.model));
  const std::string name = model->name;
  server.models().Put(std::move(model));
  if (!options.quiet) {
    const bool tls = !http.certificate.empty();
    const bool v6 = http.host.find(':') != std::string::npos;
    std::fprintf(stderr, "%s is served at %s://%s%s%s:%d\n", SafeForTerminal(name).c_str(),
                 tls ? "https" : "http", v6 ? "[" : "", http.host.c_str(), v6 ? "]" : "", listener->port());
    const bool loopback = http.host == "localhost" || http.host == "::1" || http.host.rfind("127.", 0) == 0;
    if (open && !loopback) {
      PrintWarning(
          "everybody who reaches this address may use the model: no API key is asked for (--api_key)");
    } else if (!open && !loopback && !tls) {
      PrintWarning("keys and texts go over the network as they are: no certificate (--tls_certificate)");
    }
  }
  while (!Interrupted()) std::this_thread::sleep_for(kPoll);
  server.SetDraining();
  if (!options.quiet)
    std::fprintf(stderr, "stopping: requests under way may end within %g s\n", options.drain_seconds);
  const bool drained =
      listener->Stop(std::chrono::milliseconds(static_cast<int64_t>(options.drain_seconds * 1000)));
  Status saved;
  for (const auto& served : server.models().All()) {
    if (saved.ok() && served->name == name) saved = SaveWarmSet(options.experts, served->engine());
  }
  server.models().Clear();
  DS_RETURN_IF_ERROR(saved);
  if (!drained && !options.quiet) PrintWarning("some requests were cut off");
  return 0;
}

void AddServerOptions(CLI::App* app, ServeCommandOptions* options) {
  app->add_option("--host", options->http.host, "Address to listen on; 0.0.0.0: all")->capture_default_str();
  app->add_option("--port", options->http.port, "Port; 0: any free one")->capture_default_str();
  app->add_option("--name", options->name, "What requests call the model (default: its file's name)");
  app->add_option("--api_key,--api-key", options->api_keys,
                  "Ask for this key; several may be given. Better in $DEEPSHOCK_API_KEY or a file");
  app->add_option("--api_keys,--api-keys", options->api_keys_file,
                  "File of keys and their limits (docs/server.md)")
      ->type_name("FILE.json");
  app->add_option("--requests_per_minute,--requests-per-minute", options->limits.requests_per_minute,
                  "Limit of each --api_key, or of all together without keys (default: none)");
  app->add_option("--max_concurrent,--max-concurrent", options->limits.max_concurrent,
                  "The same for requests under way");
  app->add_option("--max_connections,--max-connections", options->http.max_connections, "More get status 503")
      ->capture_default_str();
  app->add_option("--max_body,--max-body", options->max_body, "Largest request")
      ->type_name("SIZE")
      ->capture_default_str();
  app->add_option("--tls_certificate,--tls-certificate", options->http.certificate, "Serve HTTPS")
      ->type_name("FILE.pem");
  app->add_option("--tls_key,--tls-key", options->http.key, "The certificate's key")->type_name("FILE.pem");
  app->add_option("--cors", options->cors, "Origins whose pages may use the server; \"*\": any")
      ->type_name("ORIGIN");
  app->add_option("--log", options->log, "A line for each request on stderr: text, json or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json", "off"}));
  app->add_option("--drain_seconds,--drain-seconds", options->drain_seconds,
                  "How long requests under way may go on after SIGTERM or Ctrl-C")
      ->capture_default_str();
}

void AddSchedulingOptions(CLI::App* app, ServeCommandOptions* options) {
  app->add_option("--batch_size,--batch-size", options->batch_size, "Most requests computed together")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  app->add_option("--max_waiting,--max-waiting", options->max_waiting,
                  "Requests beyond that which may wait; more get 503")
      ->capture_default_str();
  app->add_option("--prefill_chunk,--prefill-chunk", options->prefill_chunk,
                  "Tokens of a prompt that are computed together; the prefix cache keeps whole ones")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  app->add_option("--context", options->context, "Longest prompt and output together (default: the model's)")
      ->type_name("N");
  app->add_option("--batching", options->batching,
                  "fifo, or expert: requests that use the same experts run together")
      ->capture_default_str()
      ->check(CLI::IsMember({"fifo", "expert"}));
  app->add_option("--batch_wait_ms,--batch-wait-ms", options->batch_wait_ms,
                  "How long expert batching may let others pass a request")
      ->capture_default_str();
  app->add_option("--prefix_cache,--prefix-cache", options->prefix_cache,
                  "Memory for the states of prompts that may come again; 0: none")
      ->type_name("SIZE")
      ->capture_default_str();
  app->add_option("--prefix_cache_folder,--prefix-cache-folder", options->prefix_cache_folder,
                  "Keep them on disk as well, beyond the server's end")
      ->type_name("FOLDER");
}

}  // namespace

Command AddServe(CLI::App& program) {
  auto options = std::make_shared<ServeCommandOptions>();
  CLI::App* app =
      program.add_subcommand("serve", "Serve a model over HTTP to OpenAI's and Anthropic's clients");
  app->add_option("MODEL", options->model, std::string(kModelHelp) + " (default: the embedded tiny-moe)");
  AddServerOptions(app, options.get());
  AddSchedulingOptions(app, options.get());
  AddExpertOptions(*app, &options->experts);
  AddGenerationOptions(*app, &options->generation, "until the model ends or the context is full",
                       "generation_config.json, else temperature 1, for requests that do not say");
  AddCommonOptions(*app, kInferenceOptions | kMemoryOption | kQuietOption, options.get());
  app->add_option("--config", options->config, "Options that are not given here: lines such as  port = 8000")
      ->type_name("FILE");
  app->footer(
      "POST /v1/chat/completions, /v1/completions, /v1/embeddings and others: docs/server.md. It listens on\n"
      "loopback only unless told otherwise. SIGTERM and Ctrl-C let requests under way end.\n"
      "\n"
      "Examples:\n"
      "  deepshock serve                                        the embedded model, http://127.0.0.1:8080\n"
      "  deepshock serve MODEL --port 8000 --name my-model\n"
      "  DEEPSHOCK_API_KEY=... deepshock serve MODEL --host 0.0.0.0 --tls_certificate c.pem --tls_key k.pem\n"
      "  deepshock serve big.repacked.gguf --memory 16G --warmup_experts text_expert,code_expert\n"
      "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'");
  return {app, [app, options]() -> Result<int> {
            if (!options->config.empty()) DS_RETURN_IF_ERROR(ApplyConfigFile(*app, options->config));
            return Serve(*options);
          }};
}

}  // namespace deepshock
