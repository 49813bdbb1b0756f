// SPDX-License-Identifier: Apache-2.0
// Engine: a model, its tokenizer and chat template, and the threads that run them, behind one small
// interface. Submit requests, then call Step until it returns false; requests that wait are computed
// together, and a finished one makes room for the next. All calls from one thread at a time. Reads no
// environment and never prints or exits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "deepshock/generation.h"

namespace deepshock {

class RoutingCounters;  // experts/routing_counters.h
class RoutingSink;      // experts/routing_sink.h

// Who guesses the next tokens, so that one pass of the model can check several at once. The output is the
// same with and without; only speed differs.
enum class Speculation {
  kAuto,  // kNgram, then kMtp where the model has such a layer: as many drafts as pay, none where they lose
  kOff,
  kMtp,    // the multi-token-prediction layer; always draft_tokens of them
  kNgram,  // what followed the last tokens when they occurred before; always up to draft_tokens
};

constexpr int kMaxDraftTokens = 7;

// Which of the requests that wait runs next.
enum class Batching {
  kFifo,    // the one of highest priority that has waited longest
  kExpert,  // one whose expert type goes with those that run; none is passed over longer than batch_wait_ms
};

struct EngineOptions {
  int num_threads = 0;  // 0: one for each physical core
  std::string kernels;  // instruction set by name; empty: the fastest
  // "int8": activations that meet quantised weights are rounded to 8 bits in blocks of 32, and the weights
  // are kept in the layout of the integer kernels. "float32": everything as the reference implementations do.
  std::string activations = "int8";
  int batch_size = 1;  // sequences computed together
  // Tokens of a prompt that are computed in one pass. Larger ones are faster; the prefix cache keeps whole
  // ones. Where experts come from disk, streams wait for each.
  int prefill_chunk = 512;
  // Requests that generate go on while prompts are computed. Without, all share a pass, which costs a little
  // less where nobody waits for the next token.
  bool steady_streams = true;
  int64_t context_length = 0;  // at most the model's; 0: the model's
  Speculation speculation = Speculation::kAuto;
  int draft_tokens = 3;  // 1 to kMaxDraftTokens; most that are guessed for one pass
  // How keys and values are kept between tokens: "f32" exactly, "q16" in half its memory, "q8" in a quarter.
  // Empty: q16, with float32 activations f32.
  std::string kv_type;
  // Hard limit for the weights and the states of all sequences together; 0: none. Where the weights do not
  // fit, the model must be a repacked file: routed experts are then read from disk as they are needed.
  int64_t memory_bytes = 0;
  bool count_routing = true;  // keep routing_counters()
  std::string groups_path;    // of the named groups of experts; empty: the file beside the model, if any
  int64_t max_waiting = 0;  // requests beyond batch_size that may wait; more end with an error; 0: any number
  Batching batching = Batching::kFifo;
  double batch_wait_ms = 50;  // how long expert batching may let others pass a request
  // Keeps the state of prompts, so that others that begin the same way need not compute it: so many bytes in
  // memory, and in files of a folder (0 with a folder: 256 MiB in memory). 0 and empty: not at all. Output is
  // the same with and without.
  int64_t prefix_cache_bytes = 0;
  std::string prefix_cache_folder;
  int64_t prefix_cache_disk_bytes = int64_t{8} << 30;  // most that the folder may hold
};

// What the engine does now, and has done since it was loaded.
struct EngineStats {
  int64_t running = 0, waiting = 0;  // requests
  int64_t state_bytes = 0;           // memory of the running requests' keys and values
  int64_t submitted = 0, finished = 0, cancelled = 0, failed = 0, queue_full = 0;  // requests
  int64_t preemptions = 0;    // running requests put back for lack of memory, to be computed again
  int64_t prompt_tokens = 0;  // of requests that have begun
  int64_t cached_prompt_tokens = 0;
  int64_t output_tokens = 0;
  // Passes of the model, their rows, and the distinct experts that each read, summed over layers; of all
  // passes, and of those that hold no prompt. Experts are counted while count_routing is on.
  struct Passes {
    int64_t passes = 0, rows = 0, expert_reads = 0;
  };
  Passes all, decode;
  struct PrefixCache {
    int64_t bytes = 0, blocks = 0;  // in memory
    int64_t hits = 0, misses = 0;   // requests of which some of the prompt was found, and none
    int64_t evictions = 0;          // blocks
    int64_t disk_bytes = 0, disk_blocks = 0, disk_hits = 0;
    std::string note;  // what is wrong with the folder, if anything
  };
  PrefixCache prefix_cache;
};

// Of an engine with a memory limit: what is where, and what reading experts from disk has cost so far.
struct MemoryUse {
  int64_t always_resident_bytes = 0;  // weights other than routed experts; all weights where experts stay too
  int64_t num_experts = 0;            // routed ones; 0: none is read from disk
  int64_t expert_bytes = 0;           // of all of them
  int64_t resident_experts = 0, resident_expert_bytes = 0;
  int64_t capacity = 0;          // experts that there is room for beside the states of now
  int64_t hits = 0, misses = 0;  // experts that a layer of a pass found in memory, and those it did not
  int64_t bytes_read = 0;
  double stall_seconds = 0;  // with nothing to compute while experts were read
  std::string prefetching;   // whether reading ahead of need pays, as found out by trying
  std::string reader;        // "io_uring, O_DIRECT"
};

// What is done with a model's experts before the first request.
struct ExpertOptions {
  // Who stays in memory under a limit: "lru", "frequency", "profile" (of the groups of `warmup`), "auto".
  std::string policy = "auto";
  std::vector<std::string> warmup;  // groups to load first, each in the order of its profile
  std::vector<std::string> pin;     // groups, or experts as "LAYER:EXPERT", that never leave memory
  std::string warm_set_path;        // of SaveWarmSet; loaded before the groups, where the file is there
  // Bytes so far and in all; false ends the warm-up.
  std::function<bool(int64_t done, int64_t total)> progress;
};

struct ExpertReport {
  bool from_disk =
      false;  // else all experts are at hand, and warming up touches the pages of the mapped file
  std::string policy;
  int64_t wanted = 0, loaded = 0;  // experts to load first, and those of them that are in memory now
  int64_t loaded_bytes = 0;
  double seconds = 0;
  int64_t pinned = 0, pinned_bytes = 0;
  struct Group {
    std::string name;
    double covered = 0;  // share of what the group's text chooses that is in memory
  };
  std::vector<Group> groups;  // of `warmup`
};

struct ModelInfo {
  std::string architecture;  // "deepseek_v3"
  std::string name;          // what the checkpoint calls itself; may be empty
  int64_t vocab_size = 0;
  int64_t context_length = 0;    // tokens of prompt and output together
  int64_t embedding_length = 0;  // numbers of GenerationResult::embedding
};

// What a conversation leaves in the model's memory. Made by Engine::NewSession; dies before its engine.
class Session {
 public:
  virtual ~Session() = default;
  virtual int64_t num_tokens() const = 0;
  virtual void Clear() = 0;
};

class Engine {
 public:
  // `path`: a Hugging Face folder or a .gguf file, with a tokenizer.
  static Result<std::unique_ptr<Engine>> Load(const std::string& path, const EngineOptions& options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const ModelInfo& info() const;
  // None without a memory limit.
  std::optional<MemoryUse> memory_use() const;
  // Loads and pins experts; before the first request. Fails on unknown groups, on groups and warm sets of
  // another model, and where more is pinned than fits.
  Result<ExpertReport> PrepareExperts(const ExpertOptions& options);
  // The experts that are in memory now, for a later run to load first. Fails where none come from disk.
  Status SaveWarmSet(const std::string& path) const;
  // What the checkpoint's generation_config.json recommends.
  const std::optional<SamplingOptions>& recommended_sampling() const;

  // A prompt to be continued: the text's tokens, after the begin-of-sequence token where the model wants one.
  // "<|...|>" in the text that is a special token becomes that token.
  std::vector<int32_t> EncodePrompt(std::string_view text) const;
  // The text alone, without a begin-of-sequence token.
  std::vector<int32_t> EncodeText(std::string_view text) const;
  // A conversation through the chat template. `messages` as in OpenAI's API; `tools` an array or null;
  // `variables` an object or null: what else the template is given ("enable_thinking").
  Result<std::vector<int32_t>> EncodeChat(const nlohmann::ordered_json& messages,
                                          const nlohmann::ordered_json& tools,
                                          const nlohmann::ordered_json* variables = nullptr) const;
  // Success when the model has a chat template; the error tells that it has none, or why it does not compile.
  Status ChatTemplateStatus() const;
  std::string Decode(std::span<const int32_t> tokens) const;
  // The bytes that one token stands for, perhaps a part of a character; empty for an unknown id.
  std::string TokenBytes(int32_t token) const;
  // The Jinja source of the chat template; empty where there is none.
  std::string_view ChatTemplateSource() const;

  // For GenerationRequest::constraint, a new one for each request: the output is JSON that the schema finds
  // valid (docs/structured-output.md), any JSON object, or what the whole pattern matches. Grammars are kept
  // from one request to the next. From any thread. Fails on what a schema or pattern asks for that cannot be
  // held to, naming it.
  Result<std::shared_ptr<TokenConstraint>> ConstrainToJsonSchema(const nlohmann::ordered_json& schema) const;
  Result<std::shared_ptr<TokenConstraint>> ConstrainToJsonObject() const;
  Result<std::shared_ptr<TokenConstraint>> ConstrainToRegex(std::string_view pattern) const;
  // What the rule "root" of a grammar in llama.cpp's GBNF notation matches.
  Result<std::shared_ptr<TokenConstraint>> ConstrainToGrammar(std::string_view text) const;
  // As OpenAI's API says it: {"type": "text"} (null comes back), "json_object", or "json_schema" with
  // {"json_schema": {"name", "schema", "strict"}}; and "regex" or "grammar" with a text of that name.
  Result<std::shared_ptr<TokenConstraint>> ConstrainToResponseFormat(
      const nlohmann::ordered_json& format) const;

  std::unique_ptr<Session> NewSession() const;

  // Queues a request; whatever is wrong with it is reported through on_done, from Step.
  uint64_t Submit(GenerationRequest request);
  // Ends a request at the next Step. An unknown or finished id is ignored.
  void Cancel(uint64_t id);
  // One pass of the model: a token for each running sequence, more where drafts were right. False when
  // nothing is left to do.
  bool Step();
  // Submitted and not finished.
  int64_t num_requests() const;
  EngineStats stats() const;

  // How often each expert served since loading; null for a dense model, or when it is not counted. Snapshots
  // may be taken from any thread.
  const RoutingCounters* routing_counters() const;
  // Gets what the routers choose from the next step on; must outlive that, or be removed.
  void AddRoutingSink(RoutingSink* sink);
  void RemoveRoutingSink(RoutingSink* sink);
  // Records every token's route in a file (docs/routing.md) until StopTrace or the engine's end. When the
  // disk is full or fails, tracing stops and `on_failure` is told once, from Step, StopTrace or the
  // destructor; generation goes on.
  Status StartTrace(const std::string& path, std::function<void(const Status&)> on_failure);
  Status StopTrace();

  // Submits and runs until this request is done, others with it.
  GenerationResult Generate(GenerationRequest request);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepshock
