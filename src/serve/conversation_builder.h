// SPDX-License-Identifier: Apache-2.0
// ConversationBuilder: makes ChatRequest::messages and ::tools out of APIs that say the same in other shapes.
// Pure.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "serve/chat_request.h"

namespace deepshock {

class ConversationBuilder {
 public:
  ConversationBuilder();
  ~ConversationBuilder();

  // An assistant's text, calls and reasoning that follow each other become one message.
  void AddText(std::string_view role, std::string text);
  void AddReasoning(std::string text);
  void AddCall(const std::string& id, const std::string& name, std::string arguments);
  void AddResult(const std::string& id, std::string text);

  // Role of the last message; empty: none.
  std::string last_role() const;
  size_t size() const;
  SharedJson Messages() const;

 private:
  nlohmann::ordered_json& Assistant();
  std::unique_ptr<nlohmann::ordered_json> messages_;
  std::string reasoning_;  // of the assistant's message that comes next
};

// A tool as ChatRequest::tools has it. `function` has the fields name, description, parameters, strict.
nlohmann::ordered_json FunctionTool(nlohmann::ordered_json function);

}  // namespace deepshock
