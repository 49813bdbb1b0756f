// SPDX-License-Identifier: Apache-2.0
// Which requests run, with what memory, and what each computes in the next step.
#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "runtime/scheduler.h"

namespace deepshock {
namespace {

// Rows that the model computes as it computes one (speculation relies on it too).
constexpr int64_t kRowsLikeOne = 1 + kMaxDraftTokens;

uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

Status Scheduler::CheckRequest(const GenerationRequest& request) const {
  const int64_t num_prompt = static_cast<int64_t>(request.prompt.size());
  if (num_prompt == 0) return Fail("prompt: expected at least one token, found none");
  if (num_prompt >= model_.context_length() + (request.embed ? 1 : 0)) {
    return Fail("prompt: expected {} tokens than the context length of {}, found {}",
                request.embed ? "no more" : "fewer", model_.context_length(), num_prompt);
  }
  for (const int32_t token : request.prompt) {
    if (token >= 0 && token < model_.vocab_size()) continue;
    return Fail("prompt: expected token ids 0 to {}, found {}", model_.vocab_size() - 1, token);
  }
  if (request.max_tokens < 0) return Fail("max_tokens: expected 1 or more, found {}", request.max_tokens);
  if (request.constraint != nullptr && request.ignore_eos) {
    return Fail("ignore_eos: expected without a constraint, which says where the output ends");
  }
  if (request.embed && request.session != nullptr) return Fail("embed: cannot go on with a session");
  if (!request.stop.empty() && tokenizer_ == nullptr) return Fail("stop: this model has no tokenizer");
  return ValidateSampling(request.sampling, model_.vocab_size());
}

Status Scheduler::Prepare(Sequence* sequence) {
  const GenerationRequest& request = sequence->request;
  DS_RETURN_IF_ERROR(CheckRequest(request));
  DS_ASSIGN(sequence->routing, RequestRouting::Create(request.routing, *options_.groups));
  DS_ASSIGN(sequence->stops, StopMatcher::Create(request.stop));
  if (request.session != nullptr && static_cast<SequenceState*>(request.session)->busy)
    return Fail("session: another request is using it");
  sequence->tokens = request.prompt;
  sequence->result.prompt_tokens = sequence->prompt_size();
  sequence->result.seed = request.sampling.seed ? *request.sampling.seed : RandomSeed();
  sequence->result.expert_type =
      request.expert_type.empty() ? types_.Name(sequence->expert_type) : request.expert_type;
  sequence->sampler =
      std::make_unique<Sampler>(request.sampling, sequence->result.seed, request.prompt, request.constraint);
  if (tokenizer_ != nullptr)
    sequence->decoder = std::make_unique<StreamDecoder>(*tokenizer_, !request.keep_special_tokens);
  return {};
}

Status Scheduler::OpenState(Sequence* sequence) {
  const GenerationRequest& request = sequence->request;
  std::string routing_key = RoutingKey(request.routing);
  const int64_t wanted = std::min(model_.context_length(), sequence->num_tokens() + (request.embed ? 0 : 1));
  if (request.session == nullptr) {
    sequence->own_state =
        std::make_unique<SequenceState>(model_.state_spec(), model_.context_length(), model_.memory_budget());
    sequence->state = sequence->own_state.get();
    sequence->state->routing_key = std::move(routing_key);
    return Reserve(sequence, wanted);
  }
  SequenceState& state = *(sequence->state = static_cast<SequenceState*>(request.session));
  // What other experts computed is another state.
  if (state.routing_key != routing_key) state.Truncate(0);
  state.routing_key = std::move(routing_key);
  // What the state already holds of this prompt need not be computed again, but the last token's logits must
  // be.
  const auto shared =
      std::mismatch(state.tokens.begin(), state.tokens.end(), request.prompt.begin(), request.prompt.end());
  const int64_t num_shared = shared.first - state.tokens.begin();
  state.Truncate(std::min(num_shared, sequence->prompt_size() - 1));
  DS_RETURN_IF_ERROR(Reserve(sequence, wanted));
  sequence->num_counted = num_shared;
  return {};
}

Status Scheduler::Start(Sequence* sequence) {
  const Status opened = OpenState(sequence);
  if (!opened.ok()) {
    sequence->own_state.reset();
    sequence->state = nullptr;
    return opened;
  }
  sequence->state->busy = true;
  sequence->num_computed = sequence->state->kv.length();
  if (sequence->begun) return {};
  sequence->begun = true;
  GenerationResult& result = sequence->result;
  result.queue_ms = std::chrono::duration<double, std::milli>(Now() - sequence->submitted).count();
  result.cached_prompt_tokens = sequence->num_computed;
  if (running_.empty()) {
    for (Drafter& drafter : drafters_) drafter.controller.OnNewSequence();
  }
  stats_.prompt_tokens += result.prompt_tokens;
  stats_.cached_prompt_tokens += result.cached_prompt_tokens;
  return {};
}

void Scheduler::Admit() {
  if (running_.size() < static_cast<size_t>(options_.batch_size)) GuessTypes();
  const Clock::time_point now = Now();
  // A request that fails here may submit another from on_done: never more in one step than were waiting.
  for (size_t n = waiting_.size(); n > 0 && running_.size() < static_cast<size_t>(options_.batch_size); --n) {
    std::vector<int> types;
    for (const auto& running : running_) types.push_back(running->expert_type);
    std::unique_ptr<Sequence> sequence = picker_.Take(waiting_, types, now);
    Status status = sequence->begun ? Status() : Prepare(sequence.get());
    if (status.ok()) {
      status = Start(sequence.get());
      // Those that run will make room.
      if (!status.ok() && !running_.empty()) return waiting_.Push(std::move(sequence));
    }
    if (status.ok()) {
      running_.push_back(std::move(sequence));
    } else {
      Finish(sequence.get(), FinishReason::kError, status);
    }
  }
}

bool Scheduler::UsesPrefixes(const Sequence& sequence) const {
  return prefixes_ != nullptr && sequence.own_state != nullptr && !sequence.request.embed;
}

void Scheduler::RestorePrefix(Sequence* sequence) {
  // Who made the first token is not kept, and some want to know.
  const bool with_end = sequence->routing == nullptr && sequence->num_tokens() == sequence->prompt_size();
  SequenceState& state = *sequence->state;
  const bool first = sequence->num_computed == 0 && sequence->result.tokens.empty();
  const std::span<const float> logits = prefixes_->Restore(sequence->request.prompt, with_end, &state);
  const int64_t num_restored = state.kv.length() - sequence->num_computed;
  sequence->num_computed = state.kv.length();
  sequence->num_counted = std::max(sequence->num_counted, sequence->num_computed);
  if (sequence->result.tokens.empty()) {
    sequence->result.cached_prompt_tokens += num_restored;
    stats_.cached_prompt_tokens += num_restored;
    if (first) ++(num_restored > 0 ? stats_.prefix_cache.hits : stats_.prefix_cache.misses);
  }
  if (!logits.empty()) {
    const std::vector<float> kept(logits.begin(), logits.end());
    Advance({sequence, {}, kept});
  }
}

void Scheduler::RestorePrefixes() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* sequence = running_[i].get();
    if (!sequence->done && !IsSlow(sequence) && UsesPrefixes(*sequence) && sequence->reads_prompt() &&
        sequence->num_computed % options_.prefill_chunk == 0) {
      RestorePrefix(sequence);
    }
  }
}

void Scheduler::KeepPrefix(const Sequence& sequence, std::span<const float> logits) {
  if (!UsesPrefixes(sequence)) return;
  SequenceState& state = *sequence.state;
  const int64_t chunk = options_.prefill_chunk, end = state.kv.length();
  if (!logits.empty()) {
    if (end <= sequence.prompt_size() && end % chunk == 0) prefixes_->AddBlock(end, state);
    if (end == sequence.prompt_size() && sequence.result.tokens.empty()) prefixes_->AddEnd(logits, state);
  } else if (!model_.depends_on_chunks()) {
    // The answer, for the next turn of a conversation.
    for (int64_t at = sequence.prompt_size() / chunk * chunk + chunk; at <= end; at += chunk)
      prefixes_->AddBlock(at, state);
  }
}

Status Scheduler::Reserve(Sequence* sequence, int64_t num_tokens) {
  KvCache& kv = sequence->state->kv;
  Status status = kv.Reserve(num_tokens);
  while (!status.ok() && prefixes_ != nullptr && model_.memory_budget() != nullptr && prefixes_->Evict())
    status = kv.Reserve(num_tokens);
  return status;
}

int64_t Scheduler::NextTokens(const Sequence& sequence) const {
  const int64_t at = sequence.num_computed;
  if (!sequence.reads_prompt()) return std::min(sequence.num_tokens() - at, kRowsLikeOne);
  return std::min(sequence.prompt_size() - at, options_.prefill_chunk - at % options_.prefill_chunk);
}

Status Scheduler::ReserveNext(Sequence* sequence) {
  const auto num_drafts = static_cast<int64_t>(sequence->drafts.size());
  return Reserve(sequence, sequence->num_computed + NextTokens(*sequence) + num_drafts);
}

void Scheduler::PutBack(Sequence* sequence) {
  ++stats_.preemptions;
  if (IsSlow(sequence)) slow_.pass.reset();
  sequence->own_state.reset();
  sequence->state = nullptr;
  sequence->num_computed = 0;
  sequence->pass_position = 0;
  sequence->drafts.clear();
  sequence->hidden_sum.clear();
  const auto it = std::ranges::find_if(running_, [&](const auto& each) { return each.get() == sequence; });
  std::unique_ptr<Sequence> owned = std::move(*it);
  running_.erase(it);
  any_cancelled_ = any_cancelled_ || owned->cancelled;
  waiting_.Push(std::move(owned));
}

std::vector<Sequence*> Scheduler::ReserveAll() {
  std::vector<Sequence*> order, ready;
  for (const auto& sequence : running_) {
    if (!sequence->done) order.push_back(sequence.get());
  }
  std::ranges::sort(order, {}, [](const Sequence* sequence) { return sequence->rank(); });
  for (size_t i = 0; i < order.size(); ++i) {
    Sequence* sequence = order[i];
    Status status = ReserveNext(sequence);
    while (!status.ok()) {
      // The last that may be put back; a session's state is the user's.
      size_t last = order.size() - 1;
      while (last > i && order[last]->own_state == nullptr) --last;
      if (last == i) break;
      PutBack(order[last]);
      order.erase(order.begin() + static_cast<std::ptrdiff_t>(last));
      status = ReserveNext(sequence);
    }
    if (status.ok()) {
      ready.push_back(sequence);
    } else if (order.size() == 1) {
      Finish(sequence, FinishReason::kError, status);
    } else if (sequence->own_state != nullptr) {
      PutBack(sequence);
      order.erase(order.begin() + static_cast<std::ptrdiff_t>(i--));
    } else {
      sequence->drafts.clear();  // it waits for the others
    }
  }
  return ready;
}

Scheduler::PromptPlan Scheduler::PlanPrompts(const std::vector<Sequence*>& sequences, bool beside) {
  std::vector<Sequence*> prompts;
  std::vector<const Sequence*> computing;  // in this step, or still
  for (Sequence* sequence : sequences) {
    if (IsSlow(sequence)) {
      computing.push_back(sequence);
    } else if (sequence->reads_prompt()) {
      prompts.push_back(sequence);
    }
  }
  // The oldest and the one that is soonest done begin in turns, so that neither waits for many others.
  oldest_prompt_next_ = !oldest_prompt_next_;
  if (oldest_prompt_next_) {
    std::ranges::stable_sort(prompts, {}, [](const Sequence* sequence) {
      return sequence->prompt_size() - sequence->num_computed;
    });
  }
  const bool interrupts = beside && options_.most_beside > 0 && model_.can_interrupt();
  const int64_t most_joining = interrupts ? options_.most_beside
                               : beside   ? options_.prefill_chunk
                                          : std::max(options_.prefill_chunk, options_.prefill_step);
  int64_t num_joining = 0, num_slow = 0;
  PromptPlan plan;
  for (Sequence* sequence : prompts) {
    const int64_t next = NextTokens(*sequence), end = sequence->num_computed + next;
    // Whole chunks only, and always one, whatever is left of the step's budget.
    const bool alone = num_joining == 0 && !interrupts;
    const bool joins = next == 1 || alone || num_joining + next <= most_joining;
    const bool is_slow = !joins && interrupts && slow_.pass == nullptr &&
                         (num_slow == 0 || num_slow + next <= options_.prefill_chunk);
    if (!joins && !is_slow) continue;
    // What another computes now, this one has afterwards.
    const bool same =
        UsesPrefixes(*sequence) && end % options_.prefill_chunk == 0 &&
        std::ranges::any_of(computing, [&](const Sequence* other) {
          return UsesPrefixes(*other) && other->num_computed == sequence->num_computed &&
                 other->prompt_size() >= end && other->state->routing_key == sequence->state->routing_key &&
                 std::equal(sequence->tokens.begin(), sequence->tokens.begin() + end, other->tokens.begin());
        });
    if (same) continue;
    (is_slow ? plan.slow : plan.joining).push_back(sequence);
    computing.push_back(sequence);
    if (next > 1) (is_slow ? num_slow : num_joining) += next;
  }
  return plan;
}

std::vector<Scheduler::Part> Scheduler::Plan() {
  const std::vector<Sequence*> ready = ReserveAll();
  const bool beside = slow_.pass != nullptr || std::ranges::any_of(ready, [](const Sequence* sequence) {
                        return !sequence->reads_prompt();
                      });
  const PromptPlan prompts = PlanPrompts(ready, beside);
  const auto add = [this](Sequence* sequence, std::vector<Part>* parts) {
    Part part{sequence, {}, {}};
    const auto begin = sequence->tokens.begin() + sequence->num_computed;
    part.tokens.assign(begin, begin + NextTokens(*sequence));
    part.tokens.insert(part.tokens.end(), sequence->drafts.begin(), sequence->drafts.end());
    parts->push_back(std::move(part));
  };
  std::vector<Part> pass, slow;
  for (Sequence* sequence : ready) {
    if (!sequence->reads_prompt()) add(sequence, &pass);
  }
  for (Sequence* sequence : prompts.joining) add(sequence, &pass);
  for (Sequence* sequence : prompts.slow) add(sequence, &slow);
  if (!slow.empty()) BeginSlow(std::move(slow));
  return pass;
}

}  // namespace deepshock
