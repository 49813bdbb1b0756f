// SPDX-License-Identifier: Apache-2.0
// Scheduler: continuous batching. Owns the requests that wait and the sequences that run; each Step computes
// one forward pass for all running sequences and hands a finished one's place to the next that waits. A
// prompt is computed in chunks whose borders depend on that sequence alone, and a step holds whole chunks, so
// greedy output does not depend on what else is in the batch.
// One thread. A request's own fault (an empty or too long prompt, NaN logits) ends that request only.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"
#include "runtime/kv_cache.h"
#include "runtime/sampler.h"
#include "runtime/stop_matcher.h"
#include "runtime/token_model.h"
#include "text/tokenizer.h"

namespace deepshock {

// A sequence's state with the tokens that are in it.
class SequenceState final : public Session {
 public:
  SequenceState(StateSpec spec, int64_t max_tokens) : kv(std::move(spec), max_tokens) {}
  int64_t num_tokens() const override { return kv.length(); }
  void Clear() override;

  KvCache kv;
  std::vector<int32_t> tokens;  // [kv.length()]
  bool busy = false;            // a request uses it
};

struct SchedulerOptions {
  int batch_size = 1;               // sequences that run together
  int prefill_chunk = 512;          // T of a prompt's chunk, and at most so many prompt tokens a step
  std::vector<int32_t> eos_tokens;  // generation stops at any of them
};

class Scheduler {
 public:
  // Without a tokenizer results carry tokens and no text, and stop strings are refused. Both must outlive
  // this.
  Scheduler(TokenModel& model, const Tokenizer* tokenizer, SchedulerOptions options);
  ~Scheduler();

  uint64_t Submit(GenerationRequest request);
  void Cancel(uint64_t id);
  bool Step();
  int64_t num_requests() const { return static_cast<int64_t>(waiting_.size() + running_.size()); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Sequence {
    uint64_t id = 0;
    GenerationRequest request;
    Clock::time_point submitted, first_token, last_token;
    bool cancelled = false;
    bool done = false;
    std::unique_ptr<SequenceState> own_state;  // unless the request brings a session
    SequenceState* state = nullptr;
    std::vector<int32_t>
        tokens;  // prompt and output; those from state->kv.length() on are still to be computed
    std::unique_ptr<Sampler> sampler;
    std::unique_ptr<StreamDecoder> decoder;
    StopMatcher stops;
    GenerationResult result;
  };

  // Moves waiting requests into free places. A faulty one is finished at once.
  void Admit();
  Status Prepare(Sequence* sequence);
  Status CheckRequest(const GenerationRequest& request) const;
  // Which sequences compute how many tokens in this step.
  struct Planned {
    Sequence* sequence;
    int64_t num_tokens;
  };
  std::vector<Planned> Plan();
  // What follows from one sequence's logits [V] when all its tokens are computed.
  void Advance(Sequence* sequence, std::span<const float> logits);
  bool IsStopToken(const Sequence& sequence, int32_t token) const;
  // Streams; false when the receiver cancelled.
  bool Emit(Sequence* sequence, int32_t token, const std::string& text, const TokenLogprobs* logprobs);
  void Finish(Sequence* sequence, FinishReason reason, Status status = {});
  void RemoveDone();

  TokenModel& model_;
  const Tokenizer* tokenizer_;
  SchedulerOptions options_;
  uint64_t next_id_ = 1;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;
  ForwardOutput output_;
};

}  // namespace deepshock
