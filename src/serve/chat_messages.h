// SPDX-License-Identifier: Apache-2.0
// Conversations and tools in requests, checked and brought to one form (ChatRequest::messages, ::tools), and
// that form fitted to what a model's chat template expects. Pure; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "serve/api_error.h"
#include "serve/chat_request.h"

namespace deepshock {

// OpenAI's "messages". `param` is the field's name for errors.
ApiStatus ReadMessages(const nlohmann::ordered_json& value, const std::string& param, ChatRequest* request);
// OpenAI's "tools" and "tool_choice" of /v1/chat/completions.
ApiStatus ReadTools(const nlohmann::ordered_json& value, const std::string& param, ChatRequest* request);
ApiStatus ReadToolChoice(const nlohmann::ordered_json& value, const std::string& param, ChatRequest* request);
// A tool's name: more letters than OpenAI's 64 of [a-zA-Z0-9_-], since names of MCP servers are longer.
ApiStatus CheckToolName(const std::string& name, const std::string& param);
// What the choice and the tools say together: the tool that is named must be there. After both are read.
ApiStatus CheckToolChoice(ChatRequest* request);

}  // namespace deepshock
