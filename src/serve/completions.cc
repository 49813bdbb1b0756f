// SPDX-License-Identifier: Apache-2.0
// /v1/completions (https://platform.openai.com/docs/api-reference/completions).
#include <fmt/format.h>

#include <ctime>
#include <optional>
#include <utility>

#include "serve/answer.h"
#include "serve/answer_json.h"
#include "serve/chat_prompt.h"
#include "serve/openai_stream.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
class LogprobLists {
 public:
  void Add(const Engine& engine, const TokenLogprobs& logprobs) {
    const std::string text = engine.Decode({&logprobs.chosen.token, 1});
    const char* separator = tokens_.empty() ? "" : ", ";
    tokens_ += separator;
    AppendJsonString(text, &tokens_);
    numbers_ += fmt::format("{}{:.6f}", separator, std::max(logprobs.chosen.logprob, -9999.0F));
    offsets_ += fmt::format("{}{}", separator, offset_);
    offset_ += text.size();
    top_ += fmt::format("{}{{", separator);
    for (size_t i = 0; i < logprobs.top.size(); ++i) {
      if (i > 0) top_ += ", ";
      AppendJsonString(engine.Decode({&logprobs.top[i].token, 1}), &top_);
      top_ += fmt::format(": {:.6f}", std::max(logprobs.top[i].logprob, -9999.0F));
    }
    top_ += "}";
  }
  bool empty() const { return tokens_.empty(); }
  // What was added since the last time.
  std::string Take() {
    if (empty()) return "null";
    std::string json = fmt::format(
        R"({{"tokens": [{}], "token_logprobs": [{}], "top_logprobs": [{}], "text_offset": [{}]}})",
        std::exchange(tokens_, {}), std::exchange(numbers_, {}), std::exchange(top_, {}),
        std::exchange(offsets_, {}));
    return json;
  }

 private:
  std::string tokens_, numbers_, top_, offsets_;
  size_t offset_ = 0;  // bytes of text so far
};

class CompletionWriter final : public AnswerWriter {
 public:
  CompletionWriter(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model, const ChatRequest& request,
                   std::vector<std::string> echoes)
      : call_(std::move(call)),
        model_(std::move(model)),
        num_choices_(static_cast<size_t>(request.num_choices)),
        choices_(request.prompts.size() * num_choices_) {
    for (size_t i = 0; i < choices_.size() && !echoes.empty(); ++i)
      choices_[i].text = echoes[i / num_choices_];
    std::string name;
    AppendJsonString(model_->name, &name);
    head_ = fmt::format(R"({{"id": "{}", "object": "text_completion", "created": {}, "model": {}, )",
                        NewId("cmpl-"), std::time(nullptr), name);
    if (request.stream) stream_.emplace(call_, head_, request.stream_usage);
  }

  bool Token(size_t index, const StreamedToken& token) override {
    OneChoice& choice = choices_[index];
    choice.text += token.text;
    if (token.logprobs != nullptr) choice.logprobs.Add(model_->engine(), *token.logprobs);
    if (stream_ && (!choice.text.empty() || !choice.logprobs.empty()))
      stream_->Write(ChoiceJson(index, "null"));
    return true;
  }
  void Choice(size_t index, GenerationResult result) override {
    usage_.Add(result);
    // A prompt counts once, however many answers it has.
    if (index % num_choices_ != 0) usage_.prompt_tokens -= result.prompt_tokens;
    OneChoice& choice = choices_[index];
    choice.result = std::move(result);
    if (stream_) {
      stream_->Write(ChoiceJson(index, Reason(choice)),
                     fmt::format(R"(, "deepshock": [{}])", DeepshockJson(model_->engine(), choice.result)));
    }
  }
  void Finish() override {
    if (stream_) return stream_->Finish(usage_);
    std::string json = head_ + R"("choices": [)";
    for (size_t i = 0; i < choices_.size(); ++i) {
      json += (i > 0 ? ", " : "") + ChoiceJson(i, Reason(choices_[i]));
    }
    json += fmt::format(R"(], "usage": {}, "deepshock": [)", UsageJson(usage_));
    for (size_t i = 0; i < choices_.size(); ++i) {
      json += (i > 0 ? ", " : "") + DeepshockJson(model_->engine(), choices_[i].result);
    }
    call_->SendJson(json + "]}");
  }
  void Fail(const ApiError& error) override {
    if (stream_) return stream_->Fail(error);
    call_->SendError(error);
  }

 private:
  struct OneChoice {
    std::string text;  // streaming: not yet sent
    LogprobLists logprobs;
    GenerationResult result;
  };

  static std::string Reason(const OneChoice& choice) {
    return choice.result.finish_reason == FinishReason::kLength ? "\"length\"" : "\"stop\"";
  }
  std::string ChoiceJson(size_t index, const std::string& reason) {
    OneChoice& choice = choices_[index];
    std::string json = fmt::format(R"({{"index": {}, "text": )", index);
    AppendJsonString(choice.text, &json);
    json += fmt::format(R"(, "logprobs": {}, "finish_reason": {}}})", choice.logprobs.Take(), reason);
    choice.text.clear();
    return json;
  }
  std::shared_ptr<Call> call_;
  std::shared_ptr<ServedModel> model_;
  const size_t num_choices_;
  std::vector<OneChoice> choices_;
  std::string head_;
  UsageCount usage_;
  std::optional<OpenAiStream> stream_;
};

}  // namespace

void HandleCompletions(Server& server, std::shared_ptr<Call> call) {
  ChatRequest request;
  std::shared_ptr<ServedModel> model;
  AnswerPlan plan;
  ApiStatus error = ParseCompletion(call->request().body, &request);
  if (!error) error = server.models().Find(request.model, &model);
  if (!error) error = MakeConstraint(model, request, {}, &plan);
  if (error) return call->SendError(*error);
  std::vector<std::string> echoes;
  for (CompletionPrompt& prompt : request.prompts) {
    plan.prompts.push_back(prompt.text ? model->engine().EncodePrompt(*prompt.text) : prompt.tokens);
    if (request.echo) echoes.push_back(prompt.text ? *prompt.text : model->engine().Decode(prompt.tokens));
  }
  auto writer = std::make_shared<CompletionWriter>(call, model, request, std::move(echoes));
  if (error = StartAnswer(call, model, request, std::move(plan), std::move(writer)); error)
    call->SendError(*error);
}

}  // namespace deepshock
