// SPDX-License-Identifier: Apache-2.0
// Scheduler: continuous batching. Owns the requests that wait and the sequences that run; each Step computes
// one forward pass for all running sequences and hands a finished one's place to the next that waits. A
// prompt is computed in chunks whose borders depend on that sequence alone, and a pass holds whole chunks, so
// output does not depend on what else is in the batch. Beside sequences that generate, more than a few tokens of
// prompts are a pass of their own, of which each step computes some layers after the others' pass: streams do
// not wait for it. Where the states' memory runs out, the sequence that
// would have come last is put back and computed again later, in the same steps. A sequence that generates may
// bring drafts of its next tokens along: each token is drawn from the model's logits as without them, and
// where it is the next draft, the logits after it are there already. What was computed after a wrong draft
// leaves the state at once. What the routers chose counts for tokens that stay in a state, once
// (RoutingFeed). One thread. A request's own fault (an empty or too long prompt, NaN logits) ends that
// request only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"
#include "runtime/batch_picker.h"
#include "runtime/expert_types.h"
#include "runtime/prefix_cache.h"
#include "runtime/request_queue.h"
#include "runtime/routing_feed.h"
#include "runtime/sequence.h"
#include "runtime/speculation.h"
#include "runtime/speculation_controller.h"
#include "runtime/token_model.h"
#include "text/tokenizer.h"

namespace deepshock {

struct SchedulerOptions {
  int batch_size = 1;  // sequences that run together
  // T of a prompt's chunk, and the most of several prompts that are computed together beside sequences that
  // generate.
  int prefill_chunk = 512;
  std::vector<int32_t> eos_tokens;  // generation stops at any of them
  int draft_tokens = 3;             // most drafts of a sequence in a step
  bool adapt_drafts = true;         // as many as are found to pay; else always draft_tokens
  std::shared_ptr<const GroupMasks> groups =
      {};                   // the named groups of experts that requests may speak of; may be null
  int64_t max_waiting = 0;  // requests beyond batch_size; more are refused; 0: any number
  Batching batching = Batching::kFifo;
  double batch_wait_ms = 50;
  // The time; empty: the clock's. Simulations have another.
  std::function<std::chrono::steady_clock::time_point()> now = {};
  int prefill_step = 0;  // most prompt tokens in a step when none generates; at least prefill_chunk
  // Prompt tokens that join the pass of sequences that generate; more are computed layer by layer. So many
  // choose most of a layer's experts, and cost what a pass over all weights costs. 0: a chunk's tokens join.
  int most_beside = 16;
};

class Scheduler {
 public:
  // `sources`: who drafts, the cheapest first; each is asked where those before it had no guess. None: no
  // speculation. Without a tokenizer results carry tokens and no text, and stop strings are refused. Both
  // must outlive this.
  // `prefixes`, with blocks of prefill_chunk tokens: keeps prompts' states for others; may be null.
  Scheduler(TokenModel& model, const Tokenizer* tokenizer, SchedulerOptions options,
            DraftSources sources = {}, std::unique_ptr<PrefixCache> prefixes = nullptr);
  ~Scheduler();

  uint64_t Submit(GenerationRequest request);
  void Cancel(uint64_t id);
  bool Step();
  int64_t num_requests() const {
    return static_cast<int64_t>(waiting_.size() + refused_.size() + running_.size());
  }
  EngineStats stats() const;

  // From the next step on (until then) the sink, which must outlive that, gets what counts.
  void AddRoutingSink(RoutingSink* sink) {
    routing_.AddSink(sink);
    slow_routing_.AddSink(sink);
  }
  void RemoveRoutingSink(RoutingSink* sink) {
    routing_.RemoveSink(sink);
    slow_routing_.RemoveSink(sink);
  }

 private:
  using Clock = Sequence::Clock;

  Clock::time_point Now() const { return options_.now ? options_.now() : Clock::now(); }
  // Ends those that were cancelled or refused.
  void EndUnwanted();
  // Moves waiting requests into free places. A faulty one is finished at once.
  void Admit();
  // Once for each request.
  Status Prepare(Sequence* sequence);
  Status CheckRequest(const GenerationRequest& request) const;
  // Gives it a state with room for all its tokens, and what is known of them already.
  Status Start(Sequence* sequence);
  Status OpenState(Sequence* sequence);
  void RestorePrefix(Sequence* sequence);
  bool UsesPrefixes(const Sequence& sequence) const;
  // For those that went on beside others that compute the same.
  void RestorePrefixes();
  void KeepPrefix(const Sequence& sequence, std::span<const float> logits);

  // Memory for the state; of the prefix cache's where there is no other.
  Status Reserve(Sequence* sequence, int64_t num_tokens);
  // For what a sequence computes next; fails where others would have to be put back.
  Status ReserveNext(Sequence* sequence);
  // Those that compute in this step, the first in rank first. Others are put back for them.
  std::vector<Sequence*> ReserveAll();
  void PutBack(Sequence* sequence);
  // Of a prompt, to the next border; of what was generated before it was put back, as few as drafts are
  // checked together, which are computed as one is.
  int64_t NextTokens(const Sequence& sequence) const;
  // Whose prompts' chunks come into this step's pass, and into the slow one. `beside` others that are under way.
  struct PromptPlan {
    std::vector<Sequence*> joining, slow;
  };
  PromptPlan PlanPrompts(const std::vector<Sequence*>& sequences, bool beside);
  // What a sequence computes in this step, and what came out.
  struct Part {
    Sequence* sequence;
    std::vector<int32_t> tokens;
    std::span<const float> logits;  // [1 + drafts, V]
  };
  // Prompts' chunks that are computed some layers a step.
  struct SlowPass {
    std::vector<Part> parts;
    std::unique_ptr<ForwardPass> pass;
  };
  bool IsSlow(const Sequence* sequence) const {
    return slow_.pass != nullptr &&
           std::ranges::any_of(slow_.parts, [&](const Part& part) { return part.sequence == sequence; });
  }
  // Fills Sequence::drafts of those that generate.
  void Draft();
  Status DraftWith(size_t drafter, int num_drafts, const std::vector<Sequence*>& sequences);
  // Those of this step's pass. Prompts' chunks that would hold it up begin the slow one instead.
  std::vector<Part> Plan();
  void BeginSlow(std::vector<Part> parts);
  // For about as long as the step's other pass took, or until it is done.
  void ContinueSlow();
  // What the model is to compute; `wants_routing`: somebody asks what the routers choose.
  std::vector<SequenceChunk> ChunksOf(std::vector<Part>& parts, RoutingFeed* routing, bool* wants_routing);
  Status Compute(std::vector<Part>& parts);
  // Hands each part its share of output_.
  void TakeOutput(std::vector<Part>& parts);
  // What comes of a pass: tokens, ends, counts.
  void Conclude(const std::vector<Part>& parts, const Status& status, RoutingFeed& routing, bool decodes);
  void CountPass(const RoutingFeed& routing, int64_t num_rows, bool decodes);
  // Of those that wait and did not say.
  void GuessTypes();
  // The routers' choices on a prompt's first chunk tell its type.
  void InferType(Sequence* sequence, int64_t num_rows);
  // The prompt's hidden states of this pass; the request ends with the prompt.
  void Embed(Sequence* sequence, std::span<const float> hidden, int64_t num_rows);
  // Draws as many tokens as one sequence's logits tell, and streams them.
  void Advance(const Part& part);
  // Counts a token that was drawn from logits [V], and streams it.
  void Append(Sequence* sequence, int32_t token, std::span<const float> logits);
  // Drops from the state what was computed after wrong drafts, or after the end.
  void Settle(Sequence* sequence);
  // The routing of rows of the last pass that stay counts now.
  void CountRouting(Sequence* sequence);
  // What the request and the context leave room for.
  int64_t TokensLeft(const Sequence& sequence) const;
  bool IsStopToken(const Sequence& sequence, int32_t token) const;
  // Streams; false when the receiver cancelled.
  bool Emit(Sequence* sequence, int32_t token, const std::string& text, const TokenLogprobs* logprobs);
  void Finish(Sequence* sequence, FinishReason reason, Status status = {});
  void RemoveDone();

  TokenModel& model_;
  const Tokenizer* tokenizer_;
  SchedulerOptions options_;
  uint64_t next_id_ = 1;
  ExpertTypes types_;
  BatchPicker picker_;
  RequestQueue waiting_;
  bool any_cancelled_ = false;                      // of those that wait
  std::vector<std::unique_ptr<Sequence>> refused_;  // by Submit, to be told in the next step
  std::vector<std::unique_ptr<Sequence>> running_;
  EngineStats stats_;  // but for what is counted when asked
  ForwardOutput output_;
  RoutingFeed routing_, slow_routing_;  // of the step's pass; of the slow one
  SlowPass slow_;
  uint64_t num_passes_ = 0;
  std::unique_ptr<PrefixCache> prefixes_;
  bool oldest_prompt_next_ = true;
  struct Drafter {
    std::unique_ptr<DraftSource> source;
    SpeculationController controller;
  };
  std::vector<Drafter> drafters_;
  PassCosts pass_costs_;
  double pass_seconds_ = 0;    // of the last pass and of drawing from it
  int64_t measured_rows_ = 0;  // in it; 0 when it held prompts, and tells nothing about drafts
};

}  // namespace deepshock
