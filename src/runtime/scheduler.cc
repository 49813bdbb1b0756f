// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"

namespace deepshock {
namespace {

double Milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

void SequenceState::Clear() {
  kv.Truncate(0);
  tokens.clear();
}

Scheduler::Scheduler(TokenModel& model, const Tokenizer* tokenizer, SchedulerOptions options)
    : model_(model), tokenizer_(tokenizer), options_(std::move(options)) {
  DS_CHECK(options_.batch_size >= 1 && options_.prefill_chunk >= 1, "scheduler options out of range");
}

Scheduler::~Scheduler() {
  for (const auto& sequence : running_) {
    if (sequence->state != nullptr) sequence->state->busy = false;
  }
}

uint64_t Scheduler::Submit(GenerationRequest request) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = next_id_++;
  sequence->request = std::move(request);
  sequence->submitted = Clock::now();
  waiting_.push_back(std::move(sequence));
  return waiting_.back()->id;
}

void Scheduler::Cancel(uint64_t id) {
  for (auto& sequence : waiting_) {
    if (sequence->id == id) sequence->cancelled = true;
  }
  for (auto& sequence : running_) {
    if (sequence->id == id) sequence->cancelled = true;
  }
}

Status Scheduler::CheckRequest(const GenerationRequest& request) const {
  const int64_t num_prompt = static_cast<int64_t>(request.prompt.size());
  if (num_prompt == 0) return Fail("prompt: expected at least one token, found none");
  if (num_prompt >= model_.context_length()) {
    return Fail("prompt: expected fewer tokens than the context length of {}, found {}",
                model_.context_length(), num_prompt);
  }
  for (const int32_t token : request.prompt) {
    if (token >= 0 && token < model_.vocab_size()) continue;
    return Fail("prompt: expected token ids 0 to {}, found {}", model_.vocab_size() - 1, token);
  }
  if (request.max_tokens < 0) return Fail("max_tokens: expected 1 or more, found {}", request.max_tokens);
  if (!request.stop.empty() && tokenizer_ == nullptr) return Fail("stop: this model has no tokenizer");
  return ValidateSampling(request.sampling, model_.vocab_size());
}

Status Scheduler::Prepare(Sequence* sequence) {
  GenerationRequest& request = sequence->request;
  DS_RETURN_IF_ERROR(CheckRequest(request));
  DS_ASSIGN(sequence->stops, StopMatcher::Create(request.stop));
  if (request.session == nullptr) {
    sequence->own_state = std::make_unique<SequenceState>(model_.state_spec(), model_.context_length());
    sequence->state = sequence->own_state.get();
  } else {
    auto* state = static_cast<SequenceState*>(request.session);
    if (state->busy) return Fail("session: another request is using it");
    sequence->state = state;
  }
  SequenceState& state = *sequence->state;
  state.busy = true;
  // What the state already holds of this prompt need not be computed again, but the last token's logits must
  // be.
  const auto shared = std::mismatch(state.tokens.begin(), state.tokens.end(), request.prompt.begin(),
                                    request.prompt.end() - 1);
  const int64_t num_shared = shared.first - state.tokens.begin();
  state.kv.Truncate(num_shared);
  state.tokens.resize(static_cast<size_t>(num_shared));

  sequence->tokens = request.prompt;
  sequence->result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  sequence->result.cached_prompt_tokens = num_shared;
  sequence->result.seed = request.sampling.seed ? *request.sampling.seed : RandomSeed();
  sequence->sampler = std::make_unique<Sampler>(request.sampling, sequence->result.seed, request.prompt);
  if (tokenizer_ != nullptr) {
    sequence->decoder = std::make_unique<StreamDecoder>(*tokenizer_, !request.keep_special_tokens);
  }
  return {};
}

void Scheduler::Admit() {
  // A request that fails here may submit another from on_done: never more in one step than were waiting.
  for (size_t n = waiting_.size(); n > 0 && running_.size() < static_cast<size_t>(options_.batch_size); --n) {
    std::unique_ptr<Sequence> sequence = std::move(waiting_.front());
    waiting_.pop_front();
    if (sequence->cancelled) {
      Finish(sequence.get(), FinishReason::kCancelled);
      continue;
    }
    const Status status = Prepare(sequence.get());
    if (status.ok()) {
      running_.push_back(std::move(sequence));
    } else {
      Finish(sequence.get(), FinishReason::kError, status);
    }
  }
}

std::vector<Scheduler::Planned> Scheduler::Plan() {
  std::vector<Planned> plan;
  int64_t prefill_tokens = 0;
  for (const auto& sequence : running_) {
    if (sequence->done) continue;
    SequenceState& state = *sequence->state;
    const int64_t left = static_cast<int64_t>(sequence->tokens.size()) - state.kv.length();
    const int64_t num_tokens = std::min<int64_t>(left, options_.prefill_chunk);
    if (num_tokens > 1) {
      // Whole chunks only, and always one, whatever is left of the step's budget.
      if (prefill_tokens > 0 && prefill_tokens + num_tokens > options_.prefill_chunk) continue;
      prefill_tokens += num_tokens;
    }
    const Status status = state.kv.Reserve(state.kv.length() + num_tokens);
    if (status.ok()) {
      plan.push_back({sequence.get(), num_tokens});
    } else {
      Finish(sequence.get(), FinishReason::kError, status);
    }
  }
  return plan;
}

bool Scheduler::Step() {
  for (auto& sequence : running_) {
    if (sequence->cancelled) Finish(sequence.get(), FinishReason::kCancelled);
  }
  RemoveDone();
  Admit();
  const std::vector<Planned> plan = Plan();
  if (!plan.empty()) {
    std::vector<SequenceChunk> chunks;
    for (const Planned& p : plan) {
      SequenceChunk chunk;
      chunk.kv = p.sequence->state->kv.view();
      chunk.tokens = std::span<const int32_t>(p.sequence->tokens)
                         .subspan(static_cast<size_t>(chunk.kv->length), static_cast<size_t>(p.num_tokens));
      chunks.push_back(chunk);
    }
    const Status status = model_.Forward(chunks, &output_);
    const size_t vocab_size = static_cast<size_t>(model_.vocab_size());
    for (size_t i = 0; i < plan.size(); ++i) {
      Sequence* sequence = plan[i].sequence;
      if (!status.ok()) {
        Finish(sequence, FinishReason::kError, status);
        continue;
      }
      SequenceState& state = *sequence->state;
      state.tokens.insert(state.tokens.end(), chunks[i].tokens.begin(), chunks[i].tokens.end());
      if (state.tokens.size() == sequence->tokens.size()) {
        Advance(sequence, std::span<const float>(output_.logits).subspan(i * vocab_size, vocab_size));
      }
    }
  }
  RemoveDone();
  return num_requests() > 0;
}

bool Scheduler::IsStopToken(const Sequence& sequence, int32_t token) const {
  const auto contains = [token](const std::vector<int32_t>& tokens) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  return contains(sequence.request.stop_tokens) ||
         (!sequence.request.ignore_eos && contains(options_.eos_tokens));
}

void Scheduler::Advance(Sequence* sequence, std::span<const float> logits) {
  const GenerationRequest& request = sequence->request;
  GenerationResult& result = sequence->result;
  const Result<int32_t> drawn = sequence->sampler->Next(logits);
  if (!drawn.ok()) {
    Finish(sequence, FinishReason::kError, drawn.status());
    return;
  }
  const int32_t token = *drawn;
  sequence->last_token = Clock::now();
  if (result.tokens.empty()) sequence->first_token = sequence->last_token;
  result.tokens.push_back(token);
  sequence->tokens.push_back(token);
  const TokenLogprobs* logprobs = nullptr;
  if (request.num_logprobs >= 0) {
    result.logprobs.push_back(LogprobsOf(logits, token, request.num_logprobs));
    logprobs = &result.logprobs.back();
  }

  const bool stop_token = IsStopToken(*sequence, token);
  std::string text;
  if (!stop_token && sequence->decoder != nullptr)
    text = sequence->stops.Push(sequence->decoder->Push(token));
  const bool wanted = Emit(sequence, token, text, logprobs);
  if (stop_token || sequence->stops.stopped()) {
    Finish(sequence, FinishReason::kStop);
  } else if (!wanted) {
    Finish(sequence, FinishReason::kCancelled);
  } else if (static_cast<int64_t>(result.tokens.size()) == request.max_tokens ||
             static_cast<int64_t>(sequence->tokens.size()) >= model_.context_length()) {
    Finish(sequence, FinishReason::kLength);
  }
}

bool Scheduler::Emit(Sequence* sequence, int32_t token, const std::string& text,
                     const TokenLogprobs* logprobs) {
  sequence->result.text += text;
  if (!sequence->request.on_token) return true;
  return sequence->request.on_token({token, text, logprobs});
}

void Scheduler::Finish(Sequence* sequence, FinishReason reason, Status status) {
  GenerationResult& result = sequence->result;
  if (sequence->decoder != nullptr) {
    // The end of the text may complete a stop string too.
    std::string rest = sequence->stops.Push(sequence->decoder->Finish());
    if (sequence->stops.stopped()) {
      if (reason == FinishReason::kLength) reason = FinishReason::kStop;
    } else {
      rest += sequence->stops.Finish();
    }
    if (reason == FinishReason::kCancelled) {
      result.text += rest;  // the receiver wants no more calls
    } else if (!rest.empty()) {
      Emit(sequence, -1, rest, nullptr);
    }
  }
  result.status = std::move(status);
  result.finish_reason = reason;
  const Clock::time_point now = Clock::now();
  result.total_ms = Milliseconds(now - sequence->submitted);
  if (!result.tokens.empty()) {
    result.first_token_ms = Milliseconds(sequence->first_token - sequence->submitted);
    result.decode_ms = Milliseconds(sequence->last_token - sequence->first_token);
  }
  if (sequence->state != nullptr) sequence->state->busy = false;
  sequence->own_state.reset();
  sequence->state = nullptr;
  sequence->done = true;
  if (sequence->request.on_done) sequence->request.on_done(std::move(result));
}

void Scheduler::RemoveDone() {
  std::erase_if(running_, [](const auto& sequence) { return sequence->done; });
}

}  // namespace deepshock
