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
  prompt->output.tools = conversation.tools;
  prompt->output.parallel_calls = request.parallel_tool_calls;
  prompt->output.starts_in_reasoning =
      StartsInReasoning(model.format, engine.Decode(std::span(prompt->tokens).last(end)));
  if (!ForcedCallSchema(request).empty()) prompt->output.format.calls = CallSyntax::kForced;
  return {};
}

ApiStatus MakeConstraint(const std::shared_ptr<ServedModel>& model, const ChatRequest& request,
                         AnswerPlan* plan) {
  const std::string forced = request.messages != nullptr ? ForcedCallSchema(request) : "";
  if (request.response_format.kind == ResponseFormat::Kind::kText && forced.empty()) return {};
  (void)model;
  (void)plan;
  return InvalidField(forced.empty() ? "response_format" : "tool_choice",
                      "expected \"text\" and \"auto\": this server does not constrain answers yet");
}

}  // namespace deepshock
