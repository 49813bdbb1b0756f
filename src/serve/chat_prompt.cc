// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_prompt.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace deepshock {
namespace {

constexpr size_t kPromptEndTokens = 32;  // more than any opening of an answer has

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
  prompt->output.parallel_calls = request.parallel_tool_calls;
  prompt->output.starts_in_reasoning =
      StartsInReasoning(model.format, engine.Decode(std::span(prompt->tokens).last(end)));
  if (!ForcedCallSchema(request).empty()) prompt->output.format.calls = CallSyntax::kForced;
  // A constraint holds from the first token on: there is nothing but the answer.
  const bool constrained = request.response_format.kind != ResponseFormat::Kind::kText ||
                           prompt->output.format.calls == CallSyntax::kForced;
  if (constrained) prompt->output.starts_in_reasoning = false;
  return {};
}

ApiStatus MakeConstraint(const std::shared_ptr<ServedModel>& model, const ChatRequest& request,
                         AnswerPlan* plan) {
  using Kind = ResponseFormat::Kind;
  const std::string forced = request.messages != nullptr ? ForcedCallSchema(request) : "";
  const ResponseFormat format =
      forced.empty() ? request.response_format : ResponseFormat{Kind::kJsonSchema, forced};
  if (format.kind == Kind::kText) return {};
  const char* param = forced.empty() ? "response_format" : "tool_choice";
  if (format.kind == Kind::kGrammar)
    return InvalidField(param, "grammars are not supported; a schema or a regex is");
  plan->constraint = [model, format]() -> Result<std::shared_ptr<TokenConstraint>> {
    const Engine& engine = model->engine();
    if (format.kind == Kind::kJsonObject) return engine.ConstrainToJsonObject();
    if (format.kind == Kind::kRegex) return engine.ConstrainToRegex(format.text);
    return engine.ConstrainToJsonSchema(nlohmann::ordered_json::parse(format.text));
  };
  // Compiled here once, and known from then on, so that a schema that is not supported is refused by name.
  const Result<std::shared_ptr<TokenConstraint>> first = plan->constraint();
  if (!first.ok()) return InvalidField(param, "{}", first.message());
  return {};
}

}  // namespace deepshock
