// SPDX-License-Identifier: Apache-2.0
#include "deepshock/engine.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "base/thread_pool.h"
#include "base/topology.h"
#include "experts/routing_counters.h"
#include "experts/trace.h"
#include "kernels/ops.h"
#include "model/fingerprint.h"
#include "model/model.h"
#include "runtime/expert_plan.h"
#include "runtime/memory_use.h"
#include "runtime/model_groups.h"
#include "runtime/model_identity.h"
#include "runtime/model_text.h"
#include "runtime/output_constraints.h"
#include "runtime/prefix_files.h"
#include "runtime/scheduler.h"
#include "runtime/token_model.h"

namespace deepshock {
namespace {

constexpr int kMaxBatchSize = 4096;
constexpr int kMaxPrefillChunk = 1 << 16;
constexpr int64_t kLeastPrefixBytes = int64_t{256} << 20;  // in memory, where only a folder is named
constexpr int kPrefillStep = 512;  // prompt tokens: many rows share the reading of an expert

bool UsesPrefixCache(const EngineOptions& options) {
  return options.prefix_cache_bytes > 0 || !options.prefix_cache_folder.empty();
}

// Null where none is wanted.
Result<std::unique_ptr<PrefixCache>> MakePrefixCache(const std::string& path, const EngineOptions& options,
                                                     std::string_view kernels, const LoadedModel& model) {
  if (!UsesPrefixCache(options)) return std::unique_ptr<PrefixCache>();
  const StateSpec spec = model.state_spec();
  PrefixCache::Options cache;
  cache.block_tokens = options.prefill_chunk;
  cache.max_bytes = options.prefix_cache_bytes > 0 ? options.prefix_cache_bytes : kLeastPrefixBytes;
  cache.num_draft_layers = model.num_draft_layers();
  cache.budget = model.memory_budget();
  if (!options.prefix_cache_folder.empty()) {
    PrefixFiles::Options files;
    files.folder = options.prefix_cache_folder;
    files.max_bytes = options.prefix_cache_disk_bytes;
    files.vocab_size = model.vocab_size();
    std::string settings = fmt::format("{} {} {} {} {} {}", DEEPSHOCK_VERSION, kernels, options.activations,
                                       Name(spec.type()), options.prefill_chunk, files.vocab_size);
    for (size_t l = 0; l + static_cast<size_t>(cache.num_draft_layers) < spec.layers.size(); ++l) {
      files.group_bytes += spec.layers[l].group_bytes();
      settings += fmt::format(" {}", spec.layers[l].group_bytes());
    }
    DS_ASSIGN(files.identity, ModelIdentity(path, settings));
    DS_ASSIGN(cache.store, PrefixFiles::Open(std::move(files)));
  }
  return std::make_unique<PrefixCache>(std::move(cache));
}

Status CheckOptions(const EngineOptions& options) {
  const auto check = [](const char* name, int64_t value, int64_t low, int64_t high) {
    return value >= low && value <= high ? Status()
                                         : Fail("{}: expected {} to {}, found {}", name, low, high, value);
  };
  DS_RETURN_IF_ERROR(check("threads", options.num_threads, 0, 1024));
  DS_RETURN_IF_ERROR(check("batch_size", options.batch_size, 1, kMaxBatchSize));
  DS_RETURN_IF_ERROR(check("prefill_chunk", options.prefill_chunk, 1, kMaxPrefillChunk));
  if (options.activations != "int8" && options.activations != "float32") {
    return Fail("activations: expected int8 or float32, found \"{}\"", options.activations);
  }
  DS_RETURN_IF_ERROR(check("memory_bytes", options.memory_bytes, 0, int64_t{1} << 62));
  DS_RETURN_IF_ERROR(check("draft_tokens", options.draft_tokens, 1, kMaxDraftTokens));
  DS_RETURN_IF_ERROR(check("max_waiting", options.max_waiting, 0, int64_t{1} << 40));
  if (!(options.batch_wait_ms >= 0 && options.batch_wait_ms <= 1e9))
    return Fail("batch_wait_ms: expected 0 to 1e9, found {}", options.batch_wait_ms);
  DS_RETURN_IF_ERROR(check("prefix_cache_bytes", options.prefix_cache_bytes, 0, int64_t{1} << 62));
  if (UsesPrefixCache(options) && options.prefill_chunk % kKvGroup != 0) {
    return Fail("prefill_chunk: expected a multiple of {} with a prefix cache, found {}", kKvGroup,
                options.prefill_chunk);
  }
  return {};
}

Result<int64_t> ContextLength(const EngineOptions& options, const Model& model) {
  const int64_t longest = model.spec().context_length;
  if (options.context_length == 0) return longest;
  if (options.context_length >= 2 && options.context_length <= longest) return options.context_length;
  return Fail("context: expected 2 to {} tokens, what the model was made for, found {}", longest,
              options.context_length);
}

}  // namespace

// Declared in the order that destruction needs: whoever points at something comes after it.
struct Engine::Impl {
  std::string groups_path;
  std::unique_ptr<ThreadPool> pool;
  std::optional<Compute> compute;
  std::unique_ptr<Model> model;
  ModelText text;
  std::optional<OutputConstraints> constraints;
  ModelInfo info;
  std::optional<LoadedModel> token_model;
  std::shared_ptr<const GroupMasks> groups;
  std::optional<RoutingCounters> counters;
  std::unique_ptr<TraceWriter> trace;
  std::optional<Scheduler> scheduler;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Load(const std::string& path, const EngineOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  const std::string_view usual_kv_type = options.activations == "float32" ? "f32" : "q16";
  DS_ASSIGN(const KvType kv_type, KvTypeByName(options.kv_type.empty() ? usual_kv_type : options.kv_type));
  auto impl = std::make_unique<Impl>();
  const Kernels* kernels = &BestKernels();
  if (!options.kernels.empty()) {
    DS_ASSIGN(kernels, KernelsByName(options.kernels));
  }
  const int num_threads = options.num_threads == 0 ? DefaultNumThreads() : options.num_threads;
  try {
    impl->pool = std::make_unique<ThreadPool>(num_threads, PlaceThreads(FindTopology(), num_threads));
  } catch (const std::system_error& e) {
    return Fail("cannot start {} threads: {}", num_threads, e.what());
  }
  impl->compute.emplace(*kernels, *impl->pool);
  DS_ASSIGN(
      impl->model,
      Model::Load(path, {options.activations == "int8", impl->pool.get(), {options.memory_bytes, kv_type}}));
  DS_ASSIGN(impl->text, LoadModelText(path));
  const ModelSpec& spec = impl->model->spec();
  DS_ASSIGN(const int64_t context_length, ContextLength(options, *impl->model));
  impl->info = {spec.architecture, spec.name, spec.vocab_size, context_length, spec.hidden};

  SchedulerOptions scheduling;
  scheduling.batch_size = options.batch_size;
  scheduling.prefill_chunk = options.prefill_chunk;
  scheduling.eos_tokens = spec.eos_tokens;
  scheduling.eos_tokens.insert(scheduling.eos_tokens.end(), impl->text.eos_tokens.begin(),
                               impl->text.eos_tokens.end());
  impl->constraints.emplace(*impl->text.tokenizer, spec.vocab_size, scheduling.eos_tokens);
  impl->token_model.emplace(*impl->model, *impl->compute, context_length, kv_type);
  scheduling.draft_tokens = options.draft_tokens;
  scheduling.max_waiting = options.max_waiting;
  scheduling.prefill_step = kPrefillStep;
  if (!options.steady_streams) scheduling.most_beside = 0;
  scheduling.batching = options.batching;
  scheduling.batch_wait_ms = options.batch_wait_ms;
  scheduling.adapt_drafts = options.speculation == Speculation::kAuto;
  DS_ASSIGN(DraftSources sources, MakeDraftSources(options.speculation, *impl->token_model));
  const RoutingShape shape = impl->token_model->routing_shape();
  impl->groups_path = options.groups_path.empty() ? FindGroupsPath(path) : options.groups_path;
  DS_ASSIGN(impl->groups, LoadGroupMasks(*impl->model, impl->groups_path, !options.groups_path.empty()));
  scheduling.groups = impl->groups;
  DS_ASSIGN(std::unique_ptr<PrefixCache> prefixes,
            MakePrefixCache(path, options, kernels->name, *impl->token_model));
  impl->scheduler.emplace(*impl->token_model, impl->text.tokenizer.get(), std::move(scheduling),
                          std::move(sources), std::move(prefixes));
  if (options.count_routing && !shape.layers.empty()) {
    impl->counters.emplace(shape, impl->groups->size() > 0 ? impl->groups : nullptr);
    impl->scheduler->AddRoutingSink(&*impl->counters);
  }
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const ModelInfo& Engine::info() const { return impl_->info; }

std::optional<MemoryUse> Engine::memory_use() const { return MemoryUseOf(impl_->model->memory()); }

Result<ExpertReport> Engine::PrepareExperts(const ExpertOptions& options) {
  return deepshock::PrepareExperts(*impl_->model, impl_->groups_path, options);
}

Status Engine::SaveWarmSet(const std::string& path) const {
  return deepshock::SaveWarmSet(*impl_->model, path);
}

const std::optional<SamplingOptions>& Engine::recommended_sampling() const {
  return impl_->text.recommended_sampling;
}

std::vector<int32_t> Engine::EncodePrompt(std::string_view text) const {
  return impl_->text.EncodePrompt(text);
}

Result<std::vector<int32_t>> Engine::EncodeChat(const nlohmann::ordered_json& messages,
                                                const nlohmann::ordered_json& tools,
                                                const nlohmann::ordered_json* variables) const {
  return impl_->text.EncodeChat(messages, tools, variables);
}

std::vector<int32_t> Engine::EncodeText(std::string_view text) const {
  return impl_->text.tokenizer->Encode(text);
}

std::string Engine::TokenBytes(int32_t token) const { return impl_->text.tokenizer->TokenBytes(token); }

std::string_view Engine::ChatTemplateSource() const {
  const auto source = impl_->text.template_sources.find("default");
  return source != impl_->text.template_sources.end() ? std::string_view(source->second) : std::string_view();
}

Status Engine::ChatTemplateStatus() const {
  return impl_->text.chat_template != nullptr ? Status() : impl_->text.template_status;
}

std::string Engine::Decode(std::span<const int32_t> tokens) const {
  return impl_->text.tokenizer->Decode(tokens);
}

Result<std::shared_ptr<TokenConstraint>> Engine::ConstrainToJsonSchema(
    const nlohmann::ordered_json& schema) const {
  return impl_->constraints->JsonSchema(schema);
}
Result<std::shared_ptr<TokenConstraint>> Engine::ConstrainToJsonObject() const {
  return impl_->constraints->JsonObject();
}
Result<std::shared_ptr<TokenConstraint>> Engine::ConstrainToRegex(std::string_view pattern) const {
  return impl_->constraints->Regex(pattern);
}
Result<std::shared_ptr<TokenConstraint>> Engine::ConstrainToGrammar(std::string_view text) const {
  return impl_->constraints->Ebnf(text);
}
Result<std::shared_ptr<TokenConstraint>> Engine::ConstrainToResponseFormat(
    const nlohmann::ordered_json& format) const {
  return impl_->constraints->ResponseFormat(format);
}

std::unique_ptr<Session> Engine::NewSession() const {
  return std::make_unique<SequenceState>(impl_->token_model->state_spec(), impl_->info.context_length,
                                         impl_->token_model->memory_budget());
}

uint64_t Engine::Submit(GenerationRequest request) { return impl_->scheduler->Submit(std::move(request)); }
void Engine::Cancel(uint64_t id) { impl_->scheduler->Cancel(id); }
bool Engine::Step() { return impl_->scheduler->Step(); }
int64_t Engine::num_requests() const { return impl_->scheduler->num_requests(); }
EngineStats Engine::stats() const { return impl_->scheduler->stats(); }

const RoutingCounters* Engine::routing_counters() const {
  return impl_->counters ? &*impl_->counters : nullptr;
}
void Engine::AddRoutingSink(RoutingSink* sink) { impl_->scheduler->AddRoutingSink(sink); }
void Engine::RemoveRoutingSink(RoutingSink* sink) { impl_->scheduler->RemoveRoutingSink(sink); }

Status Engine::StartTrace(const std::string& path, std::function<void(const Status&)> on_failure) {
  DS_RETURN_IF_ERROR(StopTrace());
  const RoutingShape shape = impl_->token_model->routing_shape();
  if (shape.layers.empty()) return Fail("{}: the model has no experts to trace", path);
  const ModelFingerprint fingerprint = FingerprintOf(impl_->model->spec(), impl_->model->weights());
  DS_ASSIGN(impl_->trace, TraceWriter::Create(path, {impl_->info.name, RouterSigns(fingerprint), shape},
                                              std::move(on_failure)));
  AddRoutingSink(impl_->trace.get());
  return {};
}

Status Engine::StopTrace() {
  if (impl_->trace == nullptr) return {};
  RemoveRoutingSink(impl_->trace.get());
  const Status status = impl_->trace->Close();
  impl_->trace.reset();
  return status;
}

GenerationResult Engine::Generate(GenerationRequest request) {
  GenerationResult result;
  bool done = false;
  auto on_done = std::move(request.on_done);
  request.on_done = [&](GenerationResult finished) {
    result = finished;
    done = true;
    if (on_done) on_done(std::move(finished));
  };
  Submit(std::move(request));
  while (!done) Step();
  return result;
}

}  // namespace deepshock
