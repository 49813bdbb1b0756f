// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "serve/chat_messages.h"
#include "serve/conversation_builder.h"
#include "serve/json_fields.h"
#include "serve/messages_api.h"

namespace deepshock {
namespace {

std::string At(const std::string& param, size_t index) { return fmt::format("{}[{}]", param, index); }

template <typename T>
std::function<ApiStatus(const FieldJson&, const std::string&)> Into(T* out) {
  return [out](const FieldJson& value, const std::string& param) { return ReadField(value, param, out); };
}

ApiError Unsupported(const std::string& param, const char* why) {
  ApiError error = InvalidField(param, "{}", why);
  error.code = "unsupported_parameter";
  return error;
}

// A string, or a list of blocks of text.
ApiStatus ReadTextBlocks(const FieldJson& value, const std::string& param, std::string* text) {
  if (value.is_string()) {
    *text = value.get<std::string>();
    return {};
  }
  if (!value.is_array()) return WrongType(param, "a string or a list of blocks", value);
  for (size_t i = 0; i < value.size(); ++i) {
    std::string type, part;
    const std::string at = At(param, i);
    if (!value[i].is_object()) return WrongType(at, "an object", value[i]);
    const FieldReaders readers = {{"type", Into(&type)},
                                  {"text", Into(&part)},
                                  {"cache_control", IgnoreField},
                                  {"citations", IgnoreField}};
    if (value[i].contains("type") && value[i]["type"] != "text") {
      return InvalidField(at + ".type", "expected \"text\", which is all that this server reads, found {}",
                          value[i]["type"].dump());
    }
    if (ApiStatus error = ReadFields(value[i], at + ".", readers)) return error;
    *text += (i > 0 ? "\n" : "") + part;
  }
  return {};
}

ApiStatus ReadToolUse(const FieldJson& block, const std::string& param, ConversationBuilder* builder) {
  std::string id, name, arguments = "{}";
  const FieldReaders readers = {
      {"type", IgnoreField},
      {"id", Into(&id)},
      {"name", Into(&name)},
      {"input",
       [&](const FieldJson& v, const std::string& p) -> ApiStatus {
         if (!v.is_object()) return WrongType(p, "an object", v);
         arguments = v.dump();
         return {};
       }},
      {"cache_control", IgnoreField},
      {"caller", IgnoreField},
  };
  if (ApiStatus error = ReadFields(block, param + ".", readers)) return error;
  if (id.empty() || name.empty()) return InvalidField(param, "expected a call with \"id\" and \"name\"");
  builder->AddCall(id, name, std::move(arguments));
  return {};
}

ApiStatus ReadToolResult(const FieldJson& block, const std::string& param, ConversationBuilder* builder) {
  std::string id, text;
  bool is_error = false;
  const FieldReaders readers = {
      {"type", IgnoreField},
      {"tool_use_id", Into(&id)},
      {"content", [&](const FieldJson& v, const std::string& p) { return ReadTextBlocks(v, p, &text); }},
      {"is_error", Into(&is_error)},
      {"cache_control", IgnoreField},
  };
  if (ApiStatus error = ReadFields(block, param + ".", readers)) return error;
  if (id.empty())
    return InvalidField(param + ".tool_use_id", "expected the id of the call that this answers, found none");
  builder->AddResult(id, is_error ? "Error: " + text : std::move(text));
  return {};
}

// One block of a message; text is gathered in `text`, and put before calls.
ApiStatus ReadBlock(const FieldJson& block, const std::string& param, bool is_user, std::string* text,
                    ConversationBuilder* builder) {
  std::string type;
  if (!block.is_object()) return WrongType(param, "an object", block);
  if (ApiStatus error =
          ReadField(block.contains("type") ? block["type"] : FieldJson(), param + ".type", &type)) {
    return error;
  }
  if (type == "text") {
    std::string part;
    const FieldReaders readers = {{"type", IgnoreField},
                                  {"text", Into(&part)},
                                  {"cache_control", IgnoreField},
                                  {"citations", IgnoreField}};
    if (ApiStatus error = ReadFields(block, param + ".", readers)) return error;
    if (!text->empty()) *text += "\n";
    *text += part;
    return {};
  }
  if (is_user && type == "tool_result") return ReadToolResult(block, param, builder);
  if (is_user) {
    return InvalidField(
        param + ".type",
        "expected \"text\" or \"tool_result\", which is all that this server reads, found \"{}\"", type);
  }
  if (type == "tool_use") {
    if (!text->empty()) builder->AddText("assistant", std::exchange(*text, {}));
    return ReadToolUse(block, param, builder);
  }
  if (type == "thinking") {
    std::string thinking;
    const FieldReaders readers = {
        {"type", IgnoreField}, {"thinking", Into(&thinking)}, {"signature", IgnoreField}};
    if (ApiStatus error = ReadFields(block, param + ".", readers)) return error;
    builder->AddReasoning(std::move(thinking));
    return {};
  }
  if (type == "redacted_thinking") return {};
  return InvalidField(param + ".type", "expected \"text\", \"thinking\" or \"tool_use\", found \"{}\"", type);
}

ApiStatus ReadMessage(const FieldJson& value, const std::string& param, ConversationBuilder* builder) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  const std::vector<std::string_view> roles = {"user", "assistant", "system"};
  size_t role = 0;
  for (const char* name : {"role", "content"}) {
    if (!value.contains(name)) return InvalidField(param + "." + name, "expected a value, found none");
  }
  if (ApiStatus error = ReadChoice(value["role"], param + ".role", roles, &role)) return error;
  const auto content = [&](const FieldJson& v, const std::string& p) -> ApiStatus {
    std::string text;
    if (v.is_string() || role == 2) {
      if (ApiStatus error = ReadTextBlocks(v, p, &text)) return error;
      builder->AddText(roles[role], std::move(text));
      return {};
    }
    if (!v.is_array()) return WrongType(p, "a string or a list of blocks", v);
    if (v.empty()) return InvalidField(p, "expected at least one block, found none");
    const size_t before = builder->size();
    for (size_t i = 0; i < v.size(); ++i) {
      if (ApiStatus error = ReadBlock(v[i], At(p, i), role == 0, &text, builder)) return error;
    }
    if (!text.empty() || builder->size() == before) builder->AddText(roles[role], std::move(text));
    return {};
  };
  return ReadFields(value, param + ".", {{"role", IgnoreField}, {"content", content}});
}

ApiStatus ReadSchemaTools(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_array()) return WrongType(param, "a list of tools", value);
  FieldJson tools = FieldJson::array();
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string at = At(param, i);
    if (!value[i].is_object()) return WrongType(at, "an object", value[i]);
    if (value[i].contains("type") && !value[i]["type"].is_null() && value[i]["type"] != "custom") {
      return InvalidField(at + ".type", "expected \"custom\", which is all that this server offers, found {}",
                          value[i]["type"].dump());
    }
    FieldJson function = FieldJson::object();
    const auto keep = [&function](const char* name) {
      return [&function, name](const FieldJson& v, const std::string&) -> ApiStatus {
        function[name] = v;
        return {};
      };
    };
    const FieldReaders readers = {{"type", IgnoreField},
                                  {"name", keep("name")},
                                  {"description", keep("description")},
                                  {"input_schema", keep("parameters")},
                                  {"strict", keep("strict")},
                                  {"cache_control", IgnoreField},
                                  {"defer_loading", IgnoreField},
                                  {"allowed_callers", IgnoreField},
                                  {"input_examples", IgnoreField},
                                  {"eager_input_streaming", IgnoreField}};
    if (ApiStatus error = ReadFields(value[i], at + ".", readers)) return error;
    tools.push_back(FunctionTool(std::move(function)));
  }
  return ReadTools(tools, param, request);
}

ApiStatus ReadChoiceOfTool(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object() || !value.contains("type"))
    return WrongType(param, "an object with a \"type\"", value);
  size_t type = 0;
  bool one = false;
  const FieldReaders readers = {
      {"type",
       [&](const FieldJson& v, const std::string& p) {
         return ReadChoice(v, p, {"auto", "any", "tool", "none"}, &type);
       }},
      {"name", Into(&request->tool_name)},
      {"disable_parallel_tool_use", Into(&one)},
  };
  if (ApiStatus error = ReadFields(value, param + ".", readers)) return error;
  if ((type == 2) == request->tool_name.empty()) {
    return InvalidField(param + ".name", "expected a tool's name with the type \"tool\", and only then");
  }
  request->tool_choice = type == 0   ? ToolChoice::kAuto
                         : type == 3 ? ToolChoice::kNone
                                     : ToolChoice::kRequired;
  request->parallel_tool_calls = !one;
  return {};
}

ApiStatus ReadThinking(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  size_t type = 0;
  // How long the model thinks is its own affair: a budget is read and has no effect.
  const FieldReaders readers = {
      {"type",
       [&](const FieldJson& v, const std::string& p) {
         return ReadChoice(v, p, {"enabled", "adaptive", "disabled"}, &type);
       }},
      {"budget_tokens", IgnoreField},
      {"display", IgnoreField},
  };
  if (ApiStatus error = ReadFields(value, param + ".", readers)) return error;
  if (type == 1) return {};
  return SetReasoningEffort(type == 0 ? "medium" : "none", param, request);
}

ApiStatus ReadOutputConfig(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  const auto format = [request](const FieldJson& v, const std::string& p) -> ApiStatus {
    if (!v.is_object() || !v.contains("schema") || !v["schema"].is_object() || !v.contains("type") ||
        v["type"] != "json_schema") {
      return InvalidField(p, "expected an object with the type \"json_schema\" and a \"schema\"");
    }
    request->response_format = {ResponseFormat::Kind::kJsonSchema, v["schema"].dump()};
    return {};
  };
  const auto effort = [request](const FieldJson& v, const std::string& p) -> ApiStatus {
    std::string text;
    if (ApiStatus error = ReadField(v, p, &text)) return error;
    return SetReasoningEffort(text, p, request);
  };
  return ReadFields(value, param + ".", {{"format", format}, {"effort", effort}});
}

ApiStatus Parse(std::string_view body, bool counting, ChatRequest* request) {
  FieldJson json;
  if (ApiStatus error = ParseBody(body, &json)) return error;
  ConversationBuilder builder;
  if (json.contains("system") && !json["system"].is_null()) {
    std::string system;
    if (ApiStatus error = ReadTextBlocks(json["system"], "system", &system)) return error;
    if (!system.empty()) builder.AddText("system", std::move(system));
  }
  if (json.contains("tools") && !json["tools"].is_null()) {
    if (ApiStatus error = ReadSchemaTools(json["tools"], "tools", request)) return error;
  }
  const auto with = [request](auto function) {
    return [function, request](const FieldJson& v, const std::string& p) { return function(v, p, request); };
  };
  FieldReaders readers = {
      {"model", Into(&request->model)},
      {"messages",
       [&](const FieldJson& v, const std::string& p) -> ApiStatus {
         if (!v.is_array()) return WrongType(p, "a list of messages", v);
         if (v.empty() || v.size() > kMaxMessages) {
           return InvalidField(p, "expected 1 to {} messages, found {}", kMaxMessages, v.size());
         }
         for (size_t i = 0; i < v.size(); ++i) {
           if (ApiStatus error = ReadMessage(v[i], At(p, i), &builder)) return error;
         }
         return {};
       }},
      {"system", IgnoreField},
      {"tools", IgnoreField},
      {"tool_choice", with(ReadChoiceOfTool)},
      {"thinking", with(ReadThinking)},
      {"output_config", with(ReadOutputConfig)},
      {"cache_control", IgnoreField},
      {"max_tokens",
       [&](const FieldJson& v, const std::string& p) {
         return ReadInteger(v, p, 1, INT64_MAX, &request->max_tokens);
       }},
      {"stop_sequences", Into(&request->stop)},
      {"stream", Into(&request->stream)},
      {"temperature", Into(&request->temperature)},
      {"top_p", Into(&request->top_p)},
      {"metadata", IgnoreField},
      {"service_tier", IgnoreField},
      {"speed", IgnoreField},
      {"inference_geo", IgnoreField},
      {"user_profile_id", IgnoreField},
      {"workspace_id", IgnoreField},
  };
  for (const char* name : {"container", "mcp_servers", "context_management", "diagnostics"}) {
    readers[name] = [](const FieldJson&, const std::string& p) -> ApiStatus {
      return Unsupported(p, "not supported by this server");
    };
  }
  AddExtensionReaders(request, &readers);
  if (ApiStatus error = ReadFields(json, "", readers)) return error;
  if (builder.size() == 0 || !json.contains("messages")) {
    return InvalidField("messages", "expected a list of messages, found none");
  }
  if (!counting && request->max_tokens == 0)
    return InvalidField("max_tokens", "expected 1 or more, found none");
  if (builder.last_role() == "assistant") {
    return InvalidField(
        "messages", "expected the last message to be the user's: an answer cannot be begun for the model");
  }
  if (ApiStatus error = CheckToolChoice(request)) return error;
  request->messages = builder.Messages();
  return CheckRequest(*request);
}

}  // namespace

ApiStatus ParseMessages(std::string_view body, ChatRequest* request) { return Parse(body, false, request); }
ApiStatus ParseCountTokens(std::string_view body, ChatRequest* request) { return Parse(body, true, request); }

}  // namespace deepshock
