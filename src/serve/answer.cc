// SPDX-License-Identifier: Apache-2.0
#include "serve/answer.h"

#include <mutex>
#include <utility>

namespace deepshock {
namespace {

// What one call has in the engine's queue. One with hundreds of inputs takes turns with other calls instead of
// filling the queue.
constexpr size_t kMostAtOnce = 64;

// The generations of one answer. The model's callbacks hold it; it holds the model, so that one whose place
// was taken lives until its last answer is given.
class Running : public std::enable_shared_from_this<Running> {
 public:
  Running(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model,
          std::shared_ptr<AnswerWriter> writer, std::vector<GenerationRequest> requests)
      : call_(std::move(call)),
        model_(std::move(model)),
        writer_(std::move(writer)),
        requests_(std::move(requests)),
        left_(requests_.size()) {}

  void Start() {
    call_->reply().OnClosed([weak = weak_from_this(), call = std::weak_ptr<Call>(call_)] {
      if (const auto left = call.lock()) left->NoteClientLeft();
      if (const auto self = weak.lock()) self->OnClientLeft();
    });
    for (size_t i = 0; i < kMostAtOnce; ++i) SubmitNext();
  }

 private:
  void SubmitNext() {
    size_t choice = 0;
    {
      const std::lock_guard lock(mutex_);
      if (next_ == requests_.size()) return;
      choice = next_++;
    }
    GenerationRequest request = std::move(requests_[choice]);
    request.on_token = [self = shared_from_this(), choice](const StreamedToken& token) {
      return !self->ended_ && self->writer_->Token(choice, token);
    };
    request.on_done = [self = shared_from_this(), choice](GenerationResult result) {
      self->OnDone(choice, std::move(result));
    };
    const uint64_t ticket = model_->host.Submit(std::move(request));
    const std::lock_guard lock(mutex_);
    tickets_.push_back(ticket);
    if (client_left_) model_->host.Cancel(ticket);
  }
  // How many were not submitted yet, and will not be.
  size_t DropRest() {
    const std::lock_guard lock(mutex_);
    const size_t rest = requests_.size() - next_;
    next_ = requests_.size();
    return rest;
  }

  void OnClientLeft() {
    model_->host.Post([self = shared_from_this()](Engine&) { self->ended_ = true; });
    const std::lock_guard lock(mutex_);
    client_left_ = true;
    for (const uint64_t ticket : tickets_) model_->host.Cancel(ticket);
  }

  void OnDone(size_t choice, GenerationResult result) {
    call_->AddResult(result);
    --left_;
    if (!ended_ && result.finish_reason == FinishReason::kError) {
      ended_ = true;
      writer_->Fail(ErrorOf(result));
    }
    if (ended_) {
      left_ -= DropRest();
      return Leave();
    }
    writer_->Choice(choice, std::move(result));
    if (left_ > 0) return SubmitNext();
    ended_ = true;
    writer_->Finish();
    Leave();
  }
  // The writer may hold the call, whose end is the log's line and the lease's.
  void Leave() {
    if (left_ > 0) return;
    writer_.reset();
    call_.reset();
  }

  std::shared_ptr<Call> call_;
  std::shared_ptr<ServedModel> model_;
  std::shared_ptr<AnswerWriter> writer_;
  std::mutex mutex_;
  std::vector<GenerationRequest> requests_;
  size_t next_ = 0;  // of requests_
  std::vector<uint64_t> tickets_;
  bool client_left_ = false;
  // The engine's thread only:
  size_t left_;
  bool ended_ = false;
};

}  // namespace

ApiError ErrorOf(const GenerationResult& result) {
  ApiError error = InvalidFrom(result.status);
  if (result.queue_full) {
    error.status = 503;
    error.code = "queue_full";
  } else if (result.prompt_tokens > 0) {
    // It was taken on, and then something went wrong.
    const bool memory = result.status.message().find("memory") != std::string::npos;
    error.status = memory ? 503 : 500;
    error.code = memory ? "out_of_memory" : "generation_failed";
    error.param.clear();
  }
  return error;
}

ApiStatus StartAnswer(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model,
                      const ChatRequest& request, AnswerPlan plan, std::shared_ptr<AnswerWriter> writer) {
  const int64_t context = model->engine().info().context_length;
  const bool chat = request.messages != nullptr;
  std::vector<GenerationRequest> requests;
  for (const std::vector<int32_t>& prompt : plan.prompts) {
    const auto num_tokens = static_cast<int64_t>(prompt.size());
    if (num_tokens == 0) return InvalidField("prompt", "expected at least one token, found none");
    if (num_tokens >= context) {
      ApiError error =
          InvalidField(chat ? "messages" : "prompt",
                       "expected fewer tokens than the model's context of {}, found {}", context, num_tokens);
      error.code = "context_length_exceeded";
      return error;
    }
    for (int i = 0; i < request.num_choices; ++i) {
      GenerationRequest generation;
      generation.prompt = prompt;
      generation.max_tokens = request.max_tokens;
      generation.sampling = request.Sampling(model->sampling);
      if (request.seed) generation.sampling.seed = *request.seed + static_cast<uint64_t>(i);
      generation.routing = request.routing;
      generation.stop = request.stop;
      generation.stop_tokens = request.stop_tokens;
      generation.ignore_eos = request.ignore_eos;
      generation.keep_special_tokens = plan.keep_special_tokens;
      generation.num_logprobs = request.num_logprobs;
      generation.expert_type = request.expert_type;
      generation.priority = request.priority;
      generation.embed = plan.embed;
      if (plan.constraint) {
        Result<std::shared_ptr<TokenConstraint>> constraint = plan.constraint();
        if (!constraint.ok()) return InvalidField("response_format", "{}", constraint.message());
        generation.constraint = std::move(constraint).value();
      }
      requests.push_back(std::move(generation));
    }
  }
  call->SetModel(model->name);
  std::make_shared<Running>(std::move(call), std::move(model), std::move(writer), std::move(requests))->Start();
  return {};
}

}  // namespace deepshock
