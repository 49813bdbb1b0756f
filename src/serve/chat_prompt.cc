// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_prompt.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/reasoning_constraint.h"

namespace deepshock {
namespace {

constexpr size_t kPromptEndTokens = 32;  // more than any opening of an answer has

// The text behind which an answer begins that the model thinks before; empty: it begins at once.
std::string ReasoningEnd(const ChatOutputOptions& output) {
  const ChatFormat& format = output.format;
  if (format.reasoning == ReasoningSyntax::kHarmony && format.calls != CallSyntax::kForced) {
    return "<|channel|>final<|message|>";
  }
  if (!output.starts_in_reasoning) return "";
  return format.reasoning == ReasoningSyntax::kMistralThink ? "[/THINK]" : "</think>";
}

}  // namespace

ApiStatus EncodeConversation(const ServedModel& model, const ChatRequest& request, ChatPrompt* prompt) {
  const Engine& engine = model.engine();
  if (const Status status = engine.ChatTemplateStatus(); !status.ok()) {
    return InvalidField("messages", "{}; /v1/completions continues plain text", status.message());
  }
  const Conversation conversation = FitConversation(model.format, request);
  const nlohmann::ordered_json no_tools;
  Result<std::vector<int32_t>> tokens =
      engine.EncodeChat(*conversation.messages, conversation.tools ? *conversation.tools : no_tools,
                        request.template_variables.get());
  if (!tokens.ok()) return InvalidField("messages", "{}", tokens.message());
  prompt->tokens = std::move(tokens).value();
  const size_t end = std::min(prompt->tokens.size(), kPromptEndTokens);
  prompt->output.format = model.format;
  if (request.tool_choice != ToolChoice::kNone) prompt->output.tools = request.tools;
  // FitConversation tells a model whose template shows no calls to write them as Qwen's do.
  if (prompt->output.tools != nullptr && model.format.calls == CallSyntax::kNone) {
    prompt->output.format.calls = CallSyntax::kHermes;
  }
  prompt->output.parallel_calls = request.parallel_tool_calls;
  prompt->output.starts_in_reasoning =
      StartsInReasoning(model.format, engine.Decode(std::span(prompt->tokens).last(end)));
  if (!ForcedCallSchema(request).empty()) prompt->output.format.calls = CallSyntax::kForced;
  return {};
}

ApiStatus MakeConstraint(const std::shared_ptr<ServedModel>& model, const ChatRequest& request,
                         const ChatOutputOptions& output, AnswerPlan* plan) {
  using Kind = ResponseFormat::Kind;
  const std::string forced = request.messages != nullptr ? ForcedCallSchema(request) : "";
  const ResponseFormat format =
      forced.empty() ? request.response_format : ResponseFormat{Kind::kJsonSchema, forced};
  if (format.kind == Kind::kText) return {};
  const auto make = [model, format]() -> Result<std::shared_ptr<TokenConstraint>> {
    const Engine& engine = model->engine();
    if (format.kind == Kind::kJsonObject) return engine.ConstrainToJsonObject();
    if (format.kind == Kind::kRegex) return engine.ConstrainToRegex(format.text);
    if (format.kind == Kind::kGrammar) return engine.ConstrainToGrammar(format.text);
    return engine.ConstrainToJsonSchema(nlohmann::ordered_json::parse(format.text));
  };
  // Compiled here once, and known from then on, so that a schema that is not supported is refused by name.
  const Result<std::shared_ptr<TokenConstraint>> first = make();
  if (!first.ok())
    return InvalidField(forced.empty() ? "response_format" : "tool_choice", "{}", first.message());
  plan->constraint = [model, make,
                      closing = ReasoningEnd(output)]() -> Result<std::shared_ptr<TokenConstraint>> {
    DS_ASSIGN(std::shared_ptr<TokenConstraint> inner, make());
    if (closing.empty()) return inner;
    const auto token_bytes = [model](int32_t token) { return model->engine().TokenBytes(token); };
    return std::shared_ptr<TokenConstraint>(std::make_shared<AfterReasoning>(
        token_bytes, model->engine().info().vocab_size, closing, std::move(inner)));
  };
  return {};
}

}  // namespace deepshock
