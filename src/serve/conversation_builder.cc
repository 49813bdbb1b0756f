// SPDX-License-Identifier: Apache-2.0
#include "serve/conversation_builder.h"

#include <nlohmann/json.hpp>

#include "serve/json_fields.h"

namespace deepshock {

ConversationBuilder::ConversationBuilder() : messages_(std::make_unique<FieldJson>(FieldJson::array())) {}
ConversationBuilder::~ConversationBuilder() = default;

FieldJson& ConversationBuilder::Assistant() {
  if (last_role() != "assistant") messages_->push_back({{"role", "assistant"}, {"content", nullptr}});
  FieldJson& message = messages_->back();
  if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
  return message;
}

void ConversationBuilder::AddText(std::string_view role, std::string text) {
  if (role != "assistant") {
    messages_->push_back({{"role", std::string(role)}, {"content", std::move(text)}});
    return;
  }
  FieldJson& message = Assistant();
  // Text after calls is a message of its own.
  if (message.contains("tool_calls")) {
    messages_->push_back({{"role", "assistant"}, {"content", std::move(text)}});
  } else if (message["content"].is_string()) {
    message["content"] = message["content"].get<std::string>() + text;
  } else {
    message["content"] = std::move(text);
  }
}

void ConversationBuilder::AddReasoning(std::string text) { reasoning_ += text; }

void ConversationBuilder::AddCall(const std::string& id, const std::string& name, std::string arguments) {
  Assistant()["tool_calls"].push_back({{"id", id},
                                       {"type", "function"},
                                       {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
}

void ConversationBuilder::AddResult(const std::string& id, std::string text) {
  messages_->push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", std::move(text)}});
}

std::string ConversationBuilder::last_role() const {
  return messages_->empty() ? std::string() : messages_->back()["role"].get<std::string>();
}

size_t ConversationBuilder::size() const { return messages_->size(); }

SharedJson ConversationBuilder::Messages() const { return std::make_shared<const FieldJson>(*messages_); }

FieldJson FunctionTool(FieldJson function) {
  return {{"type", "function"}, {"function", std::move(function)}};
}

}  // namespace deepshock
