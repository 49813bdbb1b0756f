// SPDX-License-Identifier: Apache-2.0
// /v1/chat/completions (https://platform.openai.com/docs/api-reference/chat).
#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "serve/answer.h"
#include "serve/answer_json.h"
#include "serve/chat_prompt.h"
#include "serve/openai_stream.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

// One of the answers, taken apart as it comes.
struct ChatChoice {
  std::unique_ptr<ChatOutput> output;
  std::string content, reasoning;
  bool has_content = false;
  struct ToolCall {
    std::string id, name, arguments;
  };
  std::vector<ToolCall> calls;
  std::vector<std::string> logprobs;  // TokenLogprobsJson of each token
  int64_t reasoning_tokens = 0;
  bool begun = false;  // its first chunk is out
  GenerationResult result;

  std::string Reason() const {
    if (!calls.empty() && result.finish_reason != FinishReason::kLength) return "tool_calls";
    return result.finish_reason == FinishReason::kLength ? "length" : "stop";
  }
};

// What both forms share: the events of each choice.
class ChatWriter : public AnswerWriter {
 public:
  ChatWriter(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model, const ChatRequest& request,
             const ChatOutputOptions& output)
      : call_(std::move(call)), model_(std::move(model)), explains_(request.routing.explain) {
    for (int i = 0; i < request.num_choices; ++i) {
      ChatChoice& choice = choices_.emplace_back();
      ChatOutputOptions options = output;
      options.call_id = NewId("call_");
      choice.output = ChatOutput::Create(options);
    }
    std::string model_name;
    AppendJsonString(model_->name, &model_name);
    head_ = fmt::format(R"({{"id": "{}", "object": "{}", "created": {}, "model": {}, )", id_,
                        request.stream ? "chat.completion.chunk" : "chat.completion", std::time(nullptr),
                        model_name);
  }

  bool Token(size_t index, const StreamedToken& token) override {
    ChatChoice& choice = choices_[index];
    std::vector<OutputEvent> events;
    choice.output->Push(token.text, &events);
    if (token.logprobs != nullptr)
      choice.logprobs.push_back(TokenLogprobsJson(model_->engine(), *token.logprobs));
    const bool reasons = !choice.has_content && choice.calls.empty() && !choice.reasoning.empty();
    if (reasons && token.token >= 0) ++choice.reasoning_tokens;
    Take(index, events);
    return !choice.output->complete();
  }
  void Choice(size_t index, GenerationResult result) override {
    ChatChoice& choice = choices_[index];
    usage_.Add(result);
    usage_.reasoning_tokens += choice.reasoning_tokens;
    // The prompt is the same for all of them.
    usage_.prompt_tokens = result.prompt_tokens;
    choice.result = std::move(result);
    std::vector<OutputEvent> events;
    choice.output->Finish(&events);
    Take(index, events);
    End(index);
  }

 protected:
  virtual void OnEvents(size_t index, const std::vector<OutputEvent>& events) = 0;
  virtual void End(size_t index) = 0;

  std::shared_ptr<Call> call_;
  std::shared_ptr<ServedModel> model_;
  const bool explains_;
  const std::string id_ = NewId("chatcmpl-");
  std::string head_;
  std::vector<ChatChoice> choices_;
  UsageCount usage_;

 private:
  void Take(size_t index, const std::vector<OutputEvent>& events) {
    ChatChoice& choice = choices_[index];
    for (const OutputEvent& event : events) {
      switch (event.kind) {
        case OutputEvent::Kind::kReasoning:
          choice.reasoning += event.text;
          break;
        case OutputEvent::Kind::kContent:
          choice.content += event.text;
          choice.has_content = true;
          break;
        case OutputEvent::Kind::kCallBegin:
          choice.calls.push_back({event.id, event.name, ""});
          break;
        case OutputEvent::Kind::kCallArguments:
          choice.calls.back().arguments += event.text;
          break;
        case OutputEvent::Kind::kCallEnd:
          break;
      }
    }
    OnEvents(index, events);
  }
};

std::string LogprobsList(const std::vector<std::string>& logprobs) {
  std::string json = R"({"content": [)";
  for (size_t i = 0; i < logprobs.size(); ++i) json += (i > 0 ? ", " : "") + logprobs[i];
  return json + R"(], "refusal": null})";
}

class WholeChat final : public ChatWriter {
 public:
  using ChatWriter::ChatWriter;
  void Finish() override {
    std::string json = head_ + R"("choices": [)";
    for (size_t i = 0; i < choices_.size(); ++i) json += (i > 0 ? ", " : "") + ChoiceJson(i);
    json += fmt::format(R"(], "usage": {}, "deepshock": [)", UsageJson(usage_));
    for (size_t i = 0; i < choices_.size(); ++i) {
      json += (i > 0 ? ", " : "") + DeepshockJson(model_->engine(), choices_[i].result);
    }
    call_->SendJson(json + R"(], "service_tier": "default"})");
  }
  void Fail(const ApiError& error) override { call_->SendError(error); }

 private:
  void OnEvents(size_t, const std::vector<OutputEvent>&) override {}
  void End(size_t) override {}

  std::string ChoiceJson(size_t index) const {
    const ChatChoice& choice = choices_[index];
    std::string json = fmt::format(R"({{"index": {}, "message": {{"role": "assistant", "content": )", index);
    if (choice.content.empty() && !choice.calls.empty()) {
      json += "null";
    } else {
      AppendJsonString(choice.content, &json);
    }
    json += R"(, "refusal": null)";
    if (!choice.reasoning.empty()) {
      json += R"(, "reasoning_content": )";
      AppendJsonString(choice.reasoning, &json);
    }
    if (!choice.calls.empty()) json += R"(, "tool_calls": [)";
    for (size_t c = 0; c < choice.calls.size(); ++c) {
      const ChatChoice::ToolCall& call = choice.calls[c];
      json += c > 0 ? R"(, {"id": )" : R"({"id": )";
      AppendJsonString(call.id, &json);
      json += R"(, "type": "function", "function": {"name": )";
      AppendJsonString(call.name, &json);
      json += R"(, "arguments": )";
      AppendJsonString(call.arguments, &json);
      json += "}}";
    }
    if (!choice.calls.empty()) json += "]";
    json += fmt::format(R"(}}, "logprobs": {}, "finish_reason": "{}"}})",
                        choice.logprobs.empty() ? "null" : LogprobsList(choice.logprobs), choice.Reason());
    return json;
  }
};

class StreamedChat final : public ChatWriter {
 public:
  StreamedChat(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model, const ChatRequest& request,
               const ChatOutputOptions& output)
      : ChatWriter(std::move(call), std::move(model), request, output),
        stream_(call_, head_, request.stream_usage) {}

  void Finish() override { stream_.Finish(usage_); }
  void Fail(const ApiError& error) override { stream_.Fail(error); }

 private:
  void OnEvents(size_t index, const std::vector<OutputEvent>& events) override {
    ChatChoice& choice = choices_[index];
    if (!choice.begun) {
      choice.begun = true;
      Write(index, R"({"role": "assistant", "content": "", "refusal": null})", "");
    }
    for (const OutputEvent& event : events) {
      std::string delta;
      switch (event.kind) {
        case OutputEvent::Kind::kReasoning:
        case OutputEvent::Kind::kContent:
          delta = event.kind == OutputEvent::Kind::kContent ? R"({"content": )" : R"({"reasoning_content": )";
          AppendJsonString(event.text, &delta);
          delta += "}";
          break;
        case OutputEvent::Kind::kCallBegin:
          delta = fmt::format(R"({{"tool_calls": [{{"index": {}, "id": )", event.call);
          AppendJsonString(event.id, &delta);
          delta += R"(, "type": "function", "function": {"name": )";
          AppendJsonString(event.name, &delta);
          delta += R"(, "arguments": ""}}]})";
          break;
        case OutputEvent::Kind::kCallArguments:
          delta = fmt::format(R"({{"tool_calls": [{{"index": {}, "function": {{"arguments": )", event.call);
          AppendJsonString(event.text, &delta);
          delta += "}}]}";
          break;
        case OutputEvent::Kind::kCallEnd:
          continue;
      }
      Write(index, delta, TakeLogprobs(index));
    }
    // Each token's numbers go out with it, even where its text waits for more.
    if (!choice.logprobs.empty()) Write(index, R"({"content": ""})", TakeLogprobs(index));
  }

  void End(size_t index) override {
    const ChatChoice& choice = choices_[index];
    stream_.Write(fmt::format(R"({{"index": {}, "delta": {{}}, "logprobs": null, "finish_reason": "{}"}})",
                              index, choice.Reason()),
                  fmt::format(R"(, "deepshock": [{}])", DeepshockJson(model_->engine(), choice.result)));
  }

  std::string TakeLogprobs(size_t index) {
    std::vector<std::string>& logprobs = choices_[index].logprobs;
    if (logprobs.empty()) return "";
    return LogprobsList(std::exchange(logprobs, {}));
  }

  void Write(size_t index, std::string_view delta, const std::string& logprobs) {
    stream_.Write(fmt::format(R"({{"index": {}, "delta": {}, "logprobs": {}, "finish_reason": null}})", index,
                              delta, logprobs.empty() ? "null" : logprobs));
  }

  OpenAiStream stream_;
};

}  // namespace

void HandleChatCompletions(Server& server, std::shared_ptr<Call> call) {
  ChatRequest request;
  std::shared_ptr<ServedModel> model;
  ChatPrompt prompt;
  AnswerPlan plan;
  ApiStatus error = ParseChatCompletion(call->request().body, &request);
  if (!error) error = server.models().Find(request.model, &model);
  if (!error) error = EncodeConversation(*model, request, &prompt);
  if (!error) error = MakeConstraint(model, request, prompt.output, &plan);
  if (error) return call->SendError(*error);
  plan.prompts.push_back(std::move(prompt.tokens));
  plan.keep_special_tokens = prompt.output.format.keep_special_tokens;
  std::shared_ptr<AnswerWriter> writer;
  if (request.stream) {
    writer = std::make_shared<StreamedChat>(call, model, request, prompt.output);
  } else {
    writer = std::make_shared<WholeChat>(call, model, request, prompt.output);
  }
  if (error = StartAnswer(call, model, request, std::move(plan), std::move(writer)); error)
    call->SendError(*error);
}

}  // namespace deepshock
