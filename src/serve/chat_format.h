// SPDX-License-Identifier: Apache-2.0
// ChatFormat: how a model writes tool calls and reasoning, and what its chat template expects of a
// conversation, as the template itself tells; and a request's conversation fitted to that. Pure; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "serve/chat_request.h"

namespace deepshock {

// How a tool call looks in a model's text.
enum class CallSyntax {
  kNone,
  kDeepSeek,  // <｜tool▁call▁begin｜>..., of V3, R1 and V3.1
  kDsml,      // <｜DSML｜invoke name="f">..., of DeepSeek-V3.2
  kKimi,      // <|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|>
  kHermes,    // <tool_call>{"name": "f", "arguments": {...}}</tool_call>, of Qwen2.5 and Qwen3
  kQwenXml,   // <tool_call><function=f><parameter=x>...</parameter></function></tool_call>, of Qwen3-Coder
  kGlm,       // <tool_call>f<arg_key>x</arg_key><arg_value>...</arg_value></tool_call>, of GLM-4.5
  kHarmony,   // <|channel|>commentary to=functions.f<|message|>{...}<|call|>, of gpt-oss
  kLlama,     // the answer is {"name": "f", "parameters": {...}}, of Llama 3.x
  kMistral,   // [TOOL_CALLS][{"name": "f", "arguments": {...}}] or [TOOL_CALLS]f[ARGS]{...}
  kForced,    // the whole answer is {"name": "f", "arguments": {...}}, by constraint (ForcedCallSchema)
};

enum class ReasoningSyntax {
  kNone,
  kThink,         // <think>...</think> before the answer
  kMistralThink,  // [THINK]...[/THINK]
  kHarmony,       // the analysis channel
};

struct ChatFormat {
  CallSyntax calls = CallSyntax::kNone;
  ReasoningSyntax reasoning = ReasoningSyntax::kNone;
  // The markers above may be special tokens, which only GenerationRequest::keep_special_tokens shows.
  bool keep_special_tokens = false;
  // Of the template:
  bool prints_tools = false;      // else FitConversation puts them into the system message
  bool object_arguments = false;  // takes a call's arguments as an object, else as text
  bool null_content = false;      // tells an assistant's calls from its text by content being null
  bool developer_role = false;    // knows it, else it is the system role
};

ChatFormat DetectChatFormat(std::string_view chat_template);

// What the template is given.
struct Conversation {
  SharedJson messages;
  SharedJson tools;  // null: none
};
// `request` has messages. With tool_choice "none" the tools are left out.
Conversation FitConversation(const ChatFormat& format, const ChatRequest& request);

// Whether the answer begins inside the model's reasoning, because the prompt ends with its opening.
// `prompt_end`: some of the last characters of the prompt, special tokens included.
bool StartsInReasoning(const ChatFormat& format, std::string_view prompt_end);

// The JSON schema that holds an answer to one call of the tools that the request requires; empty: it requires
// none.
std::string ForcedCallSchema(const ChatRequest& request);

}  // namespace deepshock
