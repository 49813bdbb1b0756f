// SPDX-License-Identifier: Apache-2.0
#include "serve/shaped_answer.h"

#include <ctime>
#include <utility>

#include "serve/answer.h"
#include "serve/answer_json.h"
#include "serve/chat_prompt.h"

namespace deepshock {
namespace {

class ShapedAnswer final : public AnswerWriter {
 public:
  ShapedAnswer(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model,
               const ChatOutputOptions& output, std::unique_ptr<AnswerShape> shape, bool stream)
      : call_(std::move(call)),
        model_(std::move(model)),
        output_(ChatOutput::Create(output)),
        shape_(std::move(shape)),
        stream_(stream) {}

  bool Token(size_t, const StreamedToken& token) override {
    std::vector<OutputEvent> events;
    output_->Push(token.text, &events);
    Take(events);
    if (token.token >= 0 && reasons_) ++reasoning_tokens_;
    return !output_->complete();
  }

  void Choice(size_t, GenerationResult result) override {
    std::vector<OutputEvent> events;
    output_->Finish(&events);
    Take(events);
    end_.finish_reason =
        result.finish_reason == FinishReason::kLength ? FinishReason::kLength : FinishReason::kStop;
    end_.stop = result.stop;
    end_.prompt_tokens = result.prompt_tokens;
    end_.cached_prompt_tokens = result.cached_prompt_tokens;
    end_.output_tokens = static_cast<int64_t>(result.tokens.size());
    end_.reasoning_tokens = reasoning_tokens_;
    end_.deepshock = DeepshockJson(model_->engine(), result);
  }

  void Finish() override {
    if (stream_) Begin();
    const std::string last = shape_->End(end_);
    if (!stream_) return call_->SendJson(shape_->Body());
    call_->reply().Write(last);
    call_->reply().End();
  }

  void Fail(const ApiError& error) override {
    if (!begun_) return call_->SendError(error);
    call_->NoteError(error);
    call_->reply().Write(shape_->Fail(error));
    call_->reply().End();
  }

 private:
  void Begin() {
    if (std::exchange(begun_, true)) return;
    call_->BeginEvents();
    call_->reply().Write(shape_->Begin());
  }

  void Take(const std::vector<OutputEvent>& events) {
    if (!events.empty()) reasons_ = events.back().kind == OutputEvent::Kind::kReasoning;
    if (stream_) Begin();
    std::string text = shape_->Write(events);
    if (stream_ && !text.empty()) call_->reply().Write(std::move(text));
  }

  std::shared_ptr<Call> call_;
  std::shared_ptr<ServedModel> model_;
  std::unique_ptr<ChatOutput> output_;
  std::unique_ptr<AnswerShape> shape_;
  const bool stream_;
  bool begun_ = false;
  bool reasons_ = false;  // the last text was reasoning
  int64_t reasoning_tokens_ = 0;
  AnswerEnd end_;
};

}  // namespace

void SendShaped(Server& server, std::shared_ptr<Call> call, const ChatRequest& request,
                const MakeShape& make_shape) {
  std::shared_ptr<ServedModel> model;
  ChatPrompt prompt;
  AnswerPlan plan;
  ApiStatus error = server.models().Find(request.model, &model);
  if (!error) error = EncodeConversation(*model, request, &prompt);
  if (!error) error = MakeConstraint(model, request, prompt.output, &plan);
  if (error) return call->SendError(*error);
  AnswerStart start;
  start.id = NewId("");
  start.model = model->name;
  start.created = std::time(nullptr);
  start.prompt_tokens = static_cast<int64_t>(prompt.tokens.size());
  prompt.output.call_id = NewId(call->error_style == ErrorStyle::kAnthropic ? "toolu_" : "call_");
  plan.prompts.push_back(std::move(prompt.tokens));
  plan.keep_special_tokens = prompt.output.format.keep_special_tokens;
  auto writer = std::make_shared<ShapedAnswer>(call, model, prompt.output, make_shape(start), request.stream);
  error = StartAnswer(call, model, request, std::move(plan), std::move(writer));
  if (error) call->SendError(*error);
}

}  // namespace deepshock
