// SPDX-License-Identifier: Apache-2.0
// What the templates of published checkpoints say, by their texts: DeepSeek-V3, R1, V3.1, Kimi-K2, Qwen2.5,
// Qwen3, Qwen3-Coder, GLM-4.5, gpt-oss, Llama 3.x, Mistral, all on huggingface.co.
#include "serve/chat_format.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "serve/json_fields.h"

namespace deepshock {
namespace {

bool Has(std::string_view text, std::string_view what) { return text.find(what) != std::string_view::npos; }

CallSyntax DetectCalls(std::string_view text) {
  if (Has(text, "<|channel|>") && Has(text, "<|message|>")) return CallSyntax::kHarmony;
  if (Has(text, "｜DSML｜")) return CallSyntax::kDsml;
  if (Has(text, "<｜tool▁call▁begin｜>")) return CallSyntax::kDeepSeek;
  if (Has(text, "<|tool_call_begin|>")) return CallSyntax::kKimi;
  if (Has(text, "[TOOL_CALLS]")) return CallSyntax::kMistral;
  if (Has(text, "<tool_call>")) {
    if (Has(text, "<arg_key>")) return CallSyntax::kGlm;
    return Has(text, "<function=") ? CallSyntax::kQwenXml : CallSyntax::kHermes;
  }
  if (Has(text, "<|start_header_id|>") && (Has(text, "<|python_tag|>") || Has(text, "\"parameters\""))) {
    return CallSyntax::kLlama;
  }
  return CallSyntax::kNone;
}

ReasoningSyntax DetectReasoning(std::string_view text, CallSyntax calls) {
  if (calls == CallSyntax::kHarmony) return ReasoningSyntax::kHarmony;
  if (Has(text, "[THINK]")) return ReasoningSyntax::kMistralThink;
  return Has(text, "think>") ? ReasoningSyntax::kThink : ReasoningSyntax::kNone;
}

// A call as the model is told to write it, where its template does not tell it.
std::string CallExample(CallSyntax syntax) {
  if (syntax == CallSyntax::kDeepSeek) {
    return "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```"
           "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  }
  return "<tool_call>\n{\"name\": \"NAME\", \"arguments\": ARGUMENTS}\n</tool_call>";
}

std::string DescribeTools(CallSyntax syntax, const FieldJson& tools) {
  std::string text = "You may call these functions, each described by a JSON schema, one a line:\n";
  for (const FieldJson& tool : tools) text += tool["function"].dump() + "\n";
  return text +
         "To call one, answer with its name and its arguments as a JSON object, in exactly this form:\n" +
         CallExample(syntax);
}

void AddToSystem(const std::string& text, FieldJson* messages) {
  FieldJson& first = (*messages)[0];
  if (first["role"] == "system" && first["content"].is_string()) {
    first["content"] = first["content"].get<std::string>() + "\n\n" + text;
    return;
  }
  messages->insert(messages->begin(), FieldJson{{"role", "system"}, {"content", text}});
}

void FitMessage(const ChatFormat& format, FieldJson* message) {
  if ((*message)["role"] == "developer" && !format.developer_role) (*message)["role"] = "system";
  FieldJson& content = (*message)["content"];
  const bool calls = message->contains("tool_calls");
  if (content.is_null() && !format.null_content) content = "";
  if (calls && format.null_content && content == "") content = nullptr;
  if (!calls || !format.object_arguments) return;
  for (FieldJson& call : (*message)["tool_calls"]) {
    FieldJson& arguments = call["function"]["arguments"];
    const std::string text = arguments.get<std::string>();
    if (text.empty()) {
      arguments = FieldJson::object();
    } else if (const Result<Json> checked = ParseJson(text); checked.ok() && checked->is_object()) {
      arguments = FieldJson::parse(text);
    }
  }
}

// A schema's own definitions move to the root, where its references look for them.
void HoistDefinitions(FieldJson* schema, FieldJson* root) {
  for (const char* name : {"$defs", "definitions"}) {
    if (!schema->contains(name) || !(*schema)[name].is_object()) continue;
    for (const auto& [key, value] : (*schema)[name].items()) (*root)[name][key] = value;
    schema->erase(name);
  }
}

}  // namespace

ChatFormat DetectChatFormat(std::string_view text) {
  ChatFormat format;
  format.calls = DetectCalls(text);
  format.reasoning = DetectReasoning(text, format.calls);
  format.prints_tools = Has(text, "tools");
  const bool concatenated =
      Has(text, "arguments'] +") || Has(text, "arguments\"] +") || Has(text, "arguments +");
  format.object_arguments = !concatenated;
  format.null_content =
      Has(text, ".content is n") || Has(text, "['content'] is n") || Has(text, "[\"content\"] is n");
  format.developer_role = Has(text, "developer");
  format.keep_special_tokens =
      format.calls != CallSyntax::kNone || format.reasoning != ReasoningSyntax::kNone;
  return format;
}

Conversation FitConversation(const ChatFormat& format, const ChatRequest& request) {
  FieldJson messages = *request.messages;
  for (FieldJson& message : messages) FitMessage(format, &message);
  Conversation conversation;
  if (request.tool_choice != ToolChoice::kNone) conversation.tools = request.tools;
  if (conversation.tools != nullptr && !format.prints_tools) {
    AddToSystem(DescribeTools(format.calls, *conversation.tools), &messages);
    conversation.tools = nullptr;
  }
  conversation.messages = std::make_shared<const FieldJson>(std::move(messages));
  return conversation;
}

bool StartsInReasoning(const ChatFormat& format, std::string_view prompt_end) {
  const size_t last = prompt_end.find_last_not_of(" \n");
  prompt_end = prompt_end.substr(0, last == std::string_view::npos ? 0 : last + 1);
  if (format.reasoning == ReasoningSyntax::kThink) return prompt_end.ends_with("<think>");
  return format.reasoning == ReasoningSyntax::kMistralThink && prompt_end.ends_with("[THINK]");
}

std::string ForcedCallSchema(const ChatRequest& request) {
  if (request.tool_choice != ToolChoice::kRequired || request.tools == nullptr) return {};
  FieldJson root = FieldJson::object();
  FieldJson calls = FieldJson::array();
  for (const FieldJson& tool : *request.tools) {
    const FieldJson& function = tool["function"];
    if (!request.tool_name.empty() && function["name"] != request.tool_name) continue;
    FieldJson parameters = {{"type", "object"}};
    if (function.contains("parameters") && function["parameters"].is_object())
      parameters = function["parameters"];
    HoistDefinitions(&parameters, &root);
    FieldJson call = {{"type", "object"}};
    call["properties"] = {{"name", {{"const", function["name"]}}}, {"arguments", std::move(parameters)}};
    call["required"] = FieldJson::array({"name", "arguments"});
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  if (calls.size() == 1) {
    root.update(calls[0]);
  } else {
    root["anyOf"] = std::move(calls);
  }
  return root.dump();
}

}  // namespace deepshock
