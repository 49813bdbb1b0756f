// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace deepshock {
namespace {

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}
double Milliseconds(std::chrono::steady_clock::duration duration) { return Seconds(duration) * 1000; }

}  // namespace

Scheduler::Scheduler(TokenModel& model, const Tokenizer* tokenizer, SchedulerOptions options,
                     DraftSources sources, std::unique_ptr<PrefixCache> prefixes)
    : model_(model),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      types_(options_.groups != nullptr ? options_.groups
                                        : std::make_shared<GroupMasks>(model.routing_shape())),
      picker_(options_.batching, std::chrono::duration<double, std::milli>(options_.batch_wait_ms), types_),
      prefixes_(std::move(prefixes)) {
  DS_CHECK(options_.batch_size >= 1 && options_.prefill_chunk >= 1, "scheduler options out of range");
  DS_CHECK(options_.draft_tokens >= 1 && options_.draft_tokens <= kMaxDraftTokens,
           "draft_tokens out of range");
  if (options_.groups == nullptr) options_.groups = std::make_shared<GroupMasks>(model_.routing_shape());
  for (auto& source : sources) {
    drafters_.push_back({std::move(source), SpeculationController(pass_costs_, options_.draft_tokens)});
  }
}

Scheduler::~Scheduler() {
  for (const auto& sequence : running_) {
    if (sequence->state != nullptr) sequence->state->busy = false;
  }
}

uint64_t Scheduler::Submit(GenerationRequest request) {
  auto sequence = std::make_unique<Sequence>();
  const uint64_t id = sequence->id = next_id_++;
  sequence->request = std::move(request);
  sequence->submitted = Now();
  sequence->expert_type = types_.Of(sequence->request.expert_type);
  ++stats_.submitted;
  const auto places = static_cast<size_t>(options_.batch_size) + static_cast<size_t>(options_.max_waiting);
  const bool full = options_.max_waiting > 0 && waiting_.size() + running_.size() >= places;
  if (full) {
    refused_.push_back(std::move(sequence));
  } else {
    waiting_.Push(std::move(sequence));
  }
  return id;
}

void Scheduler::Cancel(uint64_t id) {
  if (Sequence* sequence = waiting_.Find(id)) {
    sequence->cancelled = any_cancelled_ = true;
    return;
  }
  for (auto& sequence : running_) {
    if (sequence->id == id) sequence->cancelled = true;
  }
}

EngineStats Scheduler::stats() const {
  EngineStats stats = stats_;
  stats.waiting = static_cast<int64_t>(waiting_.size());
  for (const auto& sequence : running_) {
    if (sequence->done) continue;
    ++stats.running;
    if (sequence->state != nullptr) stats.state_bytes += sequence->state->kv.allocated_bytes();
  }
  if (prefixes_ != nullptr) prefixes_->AddStats(&stats.prefix_cache);
  return stats;
}

void Scheduler::EndUnwanted() {
  for (auto& sequence : std::exchange(refused_, {})) {
    sequence->result.queue_full = true;
    Finish(sequence.get(), FinishReason::kError,
           Fail("queue: expected at most {} waiting requests, found as many", options_.max_waiting));
  }
  for (auto& sequence : running_) {
    // Others' work in the same pass is not thrown away.
    const bool later = IsSlow(sequence.get()) && slow_.parts.size() > 1;
    if (sequence->cancelled && !later) Finish(sequence.get(), FinishReason::kCancelled);
  }
  if (std::exchange(any_cancelled_, false)) {
    for (auto& sequence : waiting_.TakeCancelled()) Finish(sequence.get(), FinishReason::kCancelled);
  }
}

void Scheduler::Draft() {
  std::vector<Sequence*> without;  // sequences that generate and have no drafts yet
  for (const auto& sequence : running_) {
    if (!sequence->done && !sequence->request.embed && sequence->generates()) {
      without.push_back(sequence.get());
    }
  }
  const auto num_sequences = static_cast<int64_t>(without.size());
  std::vector<int> lengths(drafters_.size(), options_.draft_tokens);
  std::vector<double> rates(drafters_.size(), 0);
  for (size_t i = 0; i < drafters_.size() && options_.adapt_drafts; ++i) {
    SpeculationController& controller = drafters_[i].controller;
    lengths[i] = controller.Choose(num_sequences);
    rates[i] = controller.trying() ? std::numeric_limits<double>::infinity()
                                   : controller.Rate(num_sequences, lengths[i]);
  }
  for (size_t i = 0; i < drafters_.size() && !without.empty(); ++i) {
    // Those that come later may do better.
    const int num_drafts = lengths[i];
    if (num_drafts == 0 ||
        *std::max_element(rates.begin() + static_cast<std::ptrdiff_t>(i), rates.end()) > rates[i])
      continue;
    const Status status = DraftWith(i, num_drafts, without);
    for (Sequence* sequence : without) {
      if (!status.ok()) Finish(sequence, FinishReason::kError, status);
    }
    std::erase_if(without,
                  [](const Sequence* sequence) { return sequence->done || !sequence->drafts.empty(); });
  }
}

Status Scheduler::DraftWith(size_t drafter, int num_drafts, const std::vector<Sequence*>& sequences) {
  std::vector<DraftRequest> requests;
  bool has_prompts = false;  // drafting begins with reading them, once: no measure of what it takes
  for (Sequence* sequence : sequences) {
    // One token comes out of the pass anyway.
    const int64_t wanted = std::min<int64_t>(num_drafts, TokensLeft(*sequence) - 1);
    SequenceState& state = *sequence->state;
    if (wanted < 1 || !state.kv.Reserve(sequence->num_computed + 1 + wanted).ok()) continue;
    has_prompts = has_prompts || state.mtp.num_waiting > static_cast<int64_t>(sequence->result.tokens.size());
    sequence->drafter = drafter;
    requests.push_back({&state, sequence->tokens, sequence->sampler.get(), wanted, &sequence->drafts});
  }
  if (requests.empty()) return {};
  const Clock::time_point start = Clock::now();
  DS_RETURN_IF_ERROR(drafters_[drafter].source->Draft(requests));
  drafters_[drafter].controller.OnDrafted(static_cast<int64_t>(sequences.size()), num_drafts,
                                          Seconds(Clock::now() - start), !has_prompts);
  drafters_[drafter].controller.OnGuessed(
      static_cast<int64_t>(requests.size()),
      std::ranges::count_if(requests, [](const DraftRequest& request) { return !request.drafts->empty(); }));
  for (Sequence* sequence : sequences) {
    // Nothing follows the end.
    std::vector<int32_t>& drafts = sequence->drafts;
    const auto end = std::find_if(drafts.begin(), drafts.end(),
                                  [&](int32_t token) { return IsStopToken(*sequence, token); });
    if (end != drafts.end()) drafts.erase(end + 1, drafts.end());
  }
  return {};
}

std::vector<SequenceChunk> Scheduler::ChunksOf(std::vector<Part>& parts, RoutingFeed* routing,
                                               bool* wants_routing) {
  std::vector<SequenceChunk> chunks;
  int64_t row = 0;
  *wants_routing = options_.batching == Batching::kExpert;
  for (const Part& part : parts) {
    Sequence& sequence = *part.sequence;
    const RequestRouting* own = sequence.routing.get();
    *wants_routing = *wants_routing || own != nullptr;
    chunks.push_back({sequence.state->kv.view(), part.tokens, !sequence.drafts.empty(),
                      own != nullptr ? own->control() : nullptr});
    sequence.pass_position = sequence.num_computed;
    sequence.pass_row = row;
    sequence.pass_routing = routing;
    row += static_cast<int64_t>(part.tokens.size());
  }
  return chunks;
}

Status Scheduler::Compute(std::vector<Part>& parts) {
  bool wants_routing = false;
  const std::vector<SequenceChunk> chunks = ChunksOf(parts, &routing_, &wants_routing);
  measured_rows_ = 0;
  for (const Part& part : parts) {
    const bool generates = part.tokens.size() == 1 + part.sequence->drafts.size();
    if (!generates) {
      measured_rows_ = 0;
      break;
    }
    measured_rows_ += static_cast<int64_t>(part.tokens.size());
  }
  const Clock::time_point start = Clock::now();
  DS_RETURN_IF_ERROR(model_.Forward(chunks, routing_.Begin(wants_routing), &output_));
  pass_seconds_ = Seconds(Clock::now() - start);
  TakeOutput(parts);
  return {};
}

void Scheduler::TakeOutput(std::vector<Part>& parts) {
  size_t num_tokens = 0;
  for (const Part& part : parts) num_tokens += part.tokens.size();
  std::span<const float> logits = output_.logits, hidden = output_.hidden;
  const auto vocab_size = static_cast<size_t>(model_.vocab_size()), width = hidden.size() / num_tokens;
  for (Part& part : parts) {
    Sequence& sequence = *part.sequence;
    const size_t num_rows = 1 + sequence.drafts.size(), num_hidden = part.tokens.size() * width;
    part.logits = logits.first(num_rows * vocab_size);
    logits = logits.subspan(num_rows * vocab_size);
    SequenceState& state = *sequence.state;
    state.tokens.insert(state.tokens.end(), part.tokens.begin(), part.tokens.end());
    sequence.num_computed = state.kv.length() - static_cast<int64_t>(sequence.drafts.size());
    for (Drafter& drafter : drafters_) {
      drafter.source->OnComputed(state, hidden.first(num_hidden), static_cast<int64_t>(part.tokens.size()));
    }
    if (sequence.request.embed)
      Embed(&sequence, hidden.first(num_hidden), static_cast<int64_t>(part.tokens.size()));
    hidden = hidden.subspan(num_hidden);
    KeepPrefix(sequence, part.logits);
  }
}

void Scheduler::BeginSlow(std::vector<Part> parts) {
  slow_.parts = std::move(parts);
  bool wants_routing = false;
  const std::vector<SequenceChunk> chunks = ChunksOf(slow_.parts, &slow_routing_, &wants_routing);
  Result<std::unique_ptr<ForwardPass>> pass = model_.Begin(chunks, slow_routing_.Begin(wants_routing));
  if (pass.ok()) {
    slow_.pass = std::move(pass).value();
  } else {
    Conclude(slow_.parts, pass.status(), slow_routing_, false);
  }
}

void Scheduler::ContinueSlow() {
  // Streams go on at half their speed at least. With none the step is short enough to take in new requests.
  constexpr double kLeastSeconds = 0.005, kSecondsAlone = 0.05;
  const bool alone = running_.size() == slow_.parts.size();
  const double budget = alone ? kSecondsAlone : std::max(kLeastSeconds, pass_seconds_);
  const Clock::time_point start = Clock::now();
  Status status;
  do {
    status = slow_.pass->RunLayer();
  } while (status.ok() && slow_.pass->layers_left() > 0 && Seconds(Clock::now() - start) < budget);
  if (status.ok() && slow_.pass->layers_left() > 0) return;
  if (status.ok()) {
    slow_.pass->Finish(&output_);
    TakeOutput(slow_.parts);
  }
  slow_.pass.reset();
  Conclude(slow_.parts, status, slow_routing_, false);
}

void Scheduler::CountPass(const RoutingFeed& routing, int64_t num_rows, bool decodes) {
  int64_t expert_reads = 0;
  std::vector<bool> read;  // by expert
  for (const RoutingFeed::Layer& layer : routing.layers()) {
    read.clear();
    for (const int32_t expert : layer.experts) {
      const auto e = static_cast<size_t>(expert);
      if (expert >= 0 && e >= read.size()) read.resize(e + 1);
      if (expert < 0 || read[e]) continue;
      read[e] = true;
      ++expert_reads;
    }
  }
  const auto count = [&](EngineStats::Passes* passes) {
    ++passes->passes;
    passes->rows += num_rows;
    passes->expert_reads += expert_reads;
  };
  count(&stats_.all);
  if (decodes) count(&stats_.decode);
}

void Scheduler::GuessTypes() {
  if (options_.batching != Batching::kExpert) return;
  for (const auto& [rank, sequence] : waiting_) {
    if (sequence->expert_type != ExpertTypes::kUnknown || types_.num_learned() < sequence->next_guess)
      continue;
    sequence->expert_type = types_.Guess(sequence->request.prompt);
    sequence->next_guess = 2 * types_.num_learned();
  }
}

void Scheduler::InferType(Sequence* sequence, int64_t num_rows) {
  if (sequence->inferred_type || sequence->pass_position >= sequence->prompt_size()) return;
  sequence->inferred_type = true;
  const GenerationRequest& request = sequence->request;
  if (request.expert_type.empty()) {
    const int type = types_.Infer(sequence->pass_routing->layers(), sequence->pass_row, num_rows);
    if (type != ExpertTypes::kUnknown) sequence->expert_type = type;
    sequence->result.expert_type = types_.Name(sequence->expert_type);
  }
  if (options_.batching == Batching::kExpert) types_.Learn(request.prompt, sequence->expert_type);
}

void Scheduler::Embed(Sequence* sequence, std::span<const float> hidden, int64_t num_rows) {
  const size_t width = hidden.size() / static_cast<size_t>(num_rows);
  sequence->hidden_sum.resize(width);
  for (size_t i = 0; i < hidden.size(); ++i) sequence->hidden_sum[i % width] += hidden[i];
  if (sequence->reads_prompt()) return;
  for (const double sum : sequence->hidden_sum)
    sequence->result.embedding.push_back(
        static_cast<float>(sum / static_cast<double>(sequence->num_tokens())));
}

void Scheduler::Conclude(const std::vector<Part>& parts, const Status& status, RoutingFeed& routing,
                         bool decodes) {
  int64_t num_rows = 0;
  for (const Part& part : parts) {
    Sequence* sequence = part.sequence;
    const auto rows = static_cast<int64_t>(part.tokens.size());
    num_rows += rows;
    if (status.ok()) InferType(sequence, rows);
    if (!status.ok()) {
      Finish(sequence, FinishReason::kError, status);
    } else if (sequence->num_computed == sequence->num_tokens()) {
      if (sequence->request.embed) {
        Finish(sequence, FinishReason::kStop);
      } else {
        Advance(part);
      }
    }
  }
  for (const Part& part : parts) CountRouting(part.sequence);
  if (status.ok()) CountPass(routing, num_rows, decodes);
  routing.End(++num_passes_, num_rows);
}

bool Scheduler::Step() {
  EndUnwanted();
  RemoveDone();
  Admit();
  RestorePrefixes();
  Draft();
  std::vector<Part> parts = Plan();
  pass_seconds_ = 0;
  if (!parts.empty()) {
    const Status status = Compute(parts);
    Conclude(parts, status, routing_, measured_rows_ > 0);
    if (status.ok() && measured_rows_ > 0) pass_costs_.Add(measured_rows_, pass_seconds_);
  }
  if (slow_.pass != nullptr) ContinueSlow();
  RemoveDone();
  return num_requests() > 0;
}

int64_t Scheduler::TokensLeft(const Sequence& sequence) const {
  const int64_t room = model_.context_length() - static_cast<int64_t>(sequence.tokens.size());
  const int64_t max_tokens = sequence.request.max_tokens;
  if (max_tokens == 0) return room;
  return std::min(room, max_tokens - static_cast<int64_t>(sequence.result.tokens.size()));
}

bool Scheduler::IsStopToken(const Sequence& sequence, int32_t token) const {
  const auto contains = [token](const std::vector<int32_t>& tokens) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  return contains(sequence.request.stop_tokens) ||
         (!sequence.request.ignore_eos && contains(options_.eos_tokens));
}

void Scheduler::Advance(const Part& part) {
  Sequence* sequence = part.sequence;
  const std::vector<int32_t> drafts = std::move(sequence->drafts);
  sequence->drafts.clear();
  const auto vocab_size = static_cast<size_t>(model_.vocab_size());
  const auto logits = [&](size_t row) { return part.logits.subspan(row * vocab_size, vocab_size); };
  // A token after each draft that was right, and one more.
  std::vector<int32_t> drawn;
  Status status;
  const Clock::time_point start = Clock::now();
  do {
    const Result<int32_t> token = sequence->sampler->Next(logits(drawn.size()));
    status = token.status();
    if (!token.ok()) break;
    drawn.push_back(*token);
  } while (drawn.size() <= drafts.size() && drawn.back() == drafts[drawn.size() - 1]);

  pass_seconds_ += Seconds(Clock::now() - start);
  const auto num_drafts = static_cast<int>(drafts.size());
  const int num_right = std::min(static_cast<int>(drawn.size()) - (status.ok() ? 1 : 0), num_drafts);
  if (num_drafts > 0) drafters_[sequence->drafter].controller.OnChecked(num_drafts, num_right);
  sequence->result.drafted_tokens += num_drafts;
  for (size_t i = 0; i < drawn.size(); ++i) {
    // A receiver that has cancelled its request gets no more of them.
    if (i > 0 && sequence->cancelled) break;
    if (i < static_cast<size_t>(num_right)) ++sequence->result.accepted_tokens;
    if (sequence->routing != nullptr) {
      const size_t first = part.tokens.size() - 1 - drafts.size();
      sequence->routing->OnDrawn(sequence->pass_routing->layers(), sequence->pass_row + static_cast<int64_t>(first + i));
    }
    Append(sequence, drawn[i], logits(i));
    if (sequence->done) return;
    if (i < static_cast<size_t>(num_right)) ++sequence->num_computed;
  }
  if (!status.ok() && !sequence->cancelled) {
    Finish(sequence, FinishReason::kError, status);
  } else {
    Settle(sequence);
  }
}

void Scheduler::Settle(Sequence* sequence) {
  SequenceState& state = *sequence->state;
  if (state.kv.length() > sequence->num_computed) state.Truncate(sequence->num_computed);
}

void Scheduler::CountRouting(Sequence* sequence) {
  const int64_t begin = std::max(sequence->num_counted, sequence->pass_position);
  const int64_t end = sequence->num_computed;
  if (end <= begin) return;
  sequence->num_counted = end;
  const int64_t first_row = sequence->pass_row - sequence->pass_position;
  const auto count = [&](int64_t from, int64_t to, RoutingPhase phase) {
    if (from >= to) return;
    const auto tokens = std::span<const int32_t>(sequence->tokens)
                            .subspan(static_cast<size_t>(from), static_cast<size_t>(to - from));
    sequence->pass_routing->Count(sequence->id, from, phase, tokens, first_row + from);
  };
  const auto num_prompt = static_cast<int64_t>(sequence->request.prompt.size());
  count(begin, std::min(end, num_prompt), RoutingPhase::kPrefill);
  count(std::max(begin, num_prompt), end, RoutingPhase::kDecode);
  if (sequence->routing == nullptr) return;
  for (int64_t p = begin; p < end; ++p) sequence->routing->OnCounted(sequence->pass_routing->layers(), first_row + p);
}

void Scheduler::Append(Sequence* sequence, int32_t token, std::span<const float> logits) {
  const GenerationRequest& request = sequence->request;
  GenerationResult& result = sequence->result;
  sequence->last_token = Now();
  if (result.tokens.empty()) sequence->first_token = sequence->last_token;
  result.tokens.push_back(token);
  sequence->tokens.push_back(token);
  ++stats_.output_tokens;
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
  } else if (TokensLeft(*sequence) == 0) {
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
  result.stop = sequence->stops.found();
  if (IsSlow(sequence)) slow_.pass.reset();
  CountRouting(sequence);
  if (sequence->routing != nullptr) sequence->routing->Report(&result);
  result.status = std::move(status);
  result.finish_reason = reason;
  const Clock::time_point now = Now();
  result.total_ms = Milliseconds(now - sequence->submitted);
  if (!result.tokens.empty()) {
    result.first_token_ms = Milliseconds(sequence->first_token - sequence->submitted);
    result.decode_ms = Milliseconds(sequence->last_token - sequence->first_token);
  }
  if (sequence->state != nullptr) {
    Settle(sequence);
    KeepPrefix(*sequence, {});
    sequence->state->busy = false;
  }
  sequence->own_state.reset();
  sequence->state = nullptr;
  sequence->done = true;
  ++(reason == FinishReason::kError       ? result.queue_full ? stats_.queue_full : stats_.failed
     : reason == FinishReason::kCancelled ? stats_.cancelled
                                          : stats_.finished);
  if (sequence->request.on_done) sequence->request.on_done(std::move(result));
}

void Scheduler::RemoveDone() {
  std::erase_if(running_, [](const auto& sequence) { return sequence->done; });
}

}  // namespace deepshock
