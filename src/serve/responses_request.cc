// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <set>

#include "serve/chat_messages.h"
#include "serve/conversation_builder.h"
#include "serve/json_fields.h"
#include "serve/responses_api.h"

namespace deepshock {
namespace {

std::string At(const std::string& param, size_t index) { return fmt::format("{}[{}]", param, index); }

template <typename T>
std::function<ApiStatus(const FieldJson&, const std::string&)> Into(T* out) {
  return [out](const FieldJson& value, const std::string& param) { return ReadField(value, param, out); };
}

std::function<ApiStatus(const FieldJson&, const std::string&)> Refuse(const char* why,
                                                                      const char* harmless = "[]") {
  return [why, harmless = FieldJson::parse(harmless)](const FieldJson& value,
                                                      const std::string& param) -> ApiStatus {
    for (const FieldJson& allowed : harmless) {
      if (value == allowed) return {};
    }
    ApiError error = InvalidField(param, "{}", why);
    error.code = "unsupported_parameter";
    return error;
  };
}

// A string, or parts input_text, output_text, text, refusal, reasoning_text, summary_text.
ApiStatus ReadParts(const FieldJson& value, const std::string& param, std::string* text) {
  static const std::set<std::string> kText = {"input_text", "output_text", "text", "reasoning_text",
                                              "summary_text"};
  if (value.is_string()) {
    *text = value.get<std::string>();
    return {};
  }
  if (!value.is_array()) return WrongType(param, "a string or a list of parts", value);
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string at = At(param, i);
    if (!value[i].is_object()) return WrongType(at, "an object", value[i]);
    std::string type, part;
    const auto find = [&](const char* name) {
      return value[i].contains(name) ? value[i][name] : FieldJson();
    };
    if (ApiStatus error = ReadField(find("type"), at + ".type", &type)) return error;
    if (kText.count(type) == 0 && type != "refusal") {
      return InvalidField(at + ".type", "expected text, which is all that this server reads, found \"{}\"",
                          type);
    }
    const char* field = type == "refusal" ? "refusal" : "text";
    if (ApiStatus error = ReadField(find(field), at + "." + field, &part)) return error;
    *text += part;
  }
  return {};
}

ApiStatus ReadMessageItem(const FieldJson& item, const std::string& param, ConversationBuilder* builder) {
  const std::vector<std::string_view> roles = {"user", "assistant", "system", "developer"};
  size_t role = 0;
  std::string text;
  bool any = false;
  const FieldReaders readers = {
      {"role", [&](const FieldJson& v, const std::string& p) { return ReadChoice(v, p, roles, &role); }},
      {"content",
       [&](const FieldJson& v, const std::string& p) {
         any = true;
         return ReadParts(v, p, &text);
       }},
      {"type", IgnoreField},
      {"id", IgnoreField},
      {"status", IgnoreField},
      {"phase", IgnoreField},
  };
  if (ApiStatus error = ReadFields(item, param + ".", readers)) return error;
  if (!any) return InvalidField(param + ".content", "expected a string or a list of parts, found none");
  builder->AddText(roles[role], std::move(text));
  return {};
}

ApiStatus ReadCallItem(const FieldJson& item, const std::string& param, ConversationBuilder* builder) {
  std::string id, name, arguments;
  const FieldReaders readers = {
      {"call_id", Into(&id)},     {"name", Into(&name)},   {"arguments", Into(&arguments)},
      {"type", IgnoreField},      {"id", IgnoreField},     {"status", IgnoreField},
      {"namespace", IgnoreField}, {"caller", IgnoreField}, {"async", IgnoreField}};
  if (ApiStatus error = ReadFields(item, param + ".", readers)) return error;
  if (name.empty()) return InvalidField(param + ".name", "expected a function's name, found none");
  builder->AddCall(id, name, std::move(arguments));
  return {};
}

ApiStatus ReadResultItem(const FieldJson& item, const std::string& param, ConversationBuilder* builder) {
  std::string id, output;
  const FieldReaders readers = {
      {"call_id", Into(&id)},
      {"output", [&](const FieldJson& v, const std::string& p) { return ReadParts(v, p, &output); }},
      {"type", IgnoreField},
      {"id", IgnoreField},
      {"name", IgnoreField},
      {"status", IgnoreField},
      {"namespace", IgnoreField},
      {"caller", IgnoreField},
  };
  if (ApiStatus error = ReadFields(item, param + ".", readers)) return error;
  if (id.empty())
    return InvalidField(param + ".call_id", "expected the id of the call that this answers, found none");
  builder->AddResult(id, std::move(output));
  return {};
}

ApiStatus ReadReasoningItem(const FieldJson& item, const std::string& param, ConversationBuilder* builder) {
  std::string text, summary;
  const FieldReaders readers = {
      {"content", [&](const FieldJson& v, const std::string& p) { return ReadParts(v, p, &text); }},
      {"summary", [&](const FieldJson& v, const std::string& p) { return ReadParts(v, p, &summary); }},
      {"type", IgnoreField},
      {"id", IgnoreField},
      {"status", IgnoreField},
      {"encrypted_content", IgnoreField},
  };
  if (ApiStatus error = ReadFields(item, param + ".", readers)) return error;
  builder->AddReasoning(std::move(text));
  return {};
}

ApiStatus ReadInput(const FieldJson& value, const std::string& param, ConversationBuilder* builder) {
  if (value.is_string()) {
    builder->AddText("user", value.get<std::string>());
    return {};
  }
  if (!value.is_array()) return WrongType(param, "a string or a list of items", value);
  if (value.empty() || value.size() > kMaxMessages) {
    return InvalidField(param, "expected 1 to {} items, found {}", kMaxMessages, value.size());
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const FieldJson& item = value[i];
    const std::string at = At(param, i);
    if (!item.is_object()) return WrongType(at, "an object", item);
    std::string type = "message";
    if (item.contains("type")) {
      if (ApiStatus error = ReadField(item["type"], at + ".type", &type)) return error;
    }
    ApiStatus error;
    if (type == "message") {
      error = ReadMessageItem(item, at, builder);
    } else if (type == "function_call") {
      error = ReadCallItem(item, at, builder);
    } else if (type == "function_call_output") {
      error = ReadResultItem(item, at, builder);
    } else if (type == "reasoning") {
      error = ReadReasoningItem(item, at, builder);
    } else {
      error = InvalidField(
          at + ".type",
          "expected \"message\", \"function_call\", \"function_call_output\" or \"reasoning\", found \"{}\"",
          type);
    }
    if (error) return error;
  }
  return {};
}

// Flat: {"type": "function", "name", "description", "parameters", "strict"}.
ApiStatus ReadFlatTools(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_array()) return WrongType(param, "a list of tools", value);
  FieldJson tools = FieldJson::array();
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_object()) return WrongType(At(param, i), "an object", value[i]);
    FieldJson function = FieldJson::object();
    for (const auto& [key, member] : value[i].items()) {
      const bool harmless =
          key == "type" || key == "defer_loading" || key == "allowed_callers" || key == "output_schema";
      if (!harmless && !member.is_null()) function[key] = member;
    }
    FieldJson tool = FunctionTool(std::move(function));
    if (value[i].contains("type")) tool["type"] = value[i]["type"];
    tools.push_back(std::move(tool));
  }
  return ReadTools(tools, param, request);
}

// The function's name stands beside the type here.
ApiStatus ReadFlatToolChoice(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return ReadToolChoice(value, param, request);
  FieldJson choice = value;
  const auto nest = [](const FieldJson& flat) {
    FieldJson nested = {{"type", "function"}};
    if (flat.is_object() && flat.contains("name")) nested["function"]["name"] = flat["name"];
    return nested;
  };
  if (value.contains("type") && value["type"] == "function") choice = nest(value);
  if (value.contains("type") && value["type"] == "allowed_tools") {
    FieldJson tools = FieldJson::array();
    if (value.contains("tools") && value["tools"].is_array()) {
      for (const FieldJson& tool : value["tools"]) tools.push_back(nest(tool));
    }
    choice = {{"type", "allowed_tools"}, {"allowed_tools", {{"tools", std::move(tools)}}}};
    if (value.contains("mode")) choice["allowed_tools"]["mode"] = value["mode"];
  }
  return ReadToolChoice(choice, param, request);
}

ApiStatus ReadText(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  const auto format = [request](const FieldJson& v, const std::string& p) -> ApiStatus {
    if (!v.is_object()) return WrongType(p, "an object", v);
    size_t type = 0;
    if (!v.contains("type")) return InvalidField(p + ".type", "expected the format's type, found none");
    if (ApiStatus error = ReadChoice(v["type"], p + ".type", {"text", "json_object", "json_schema"}, &type))
      return error;
    std::string ignored, schema;
    bool strict = false;
    FieldReaders readers = {{"type", IgnoreField}};
    if (type == 2) {
      readers["name"] = Into(&ignored);
      readers["description"] = Into(&ignored);
      readers["strict"] = Into(&strict);
      readers["schema"] = [&](const FieldJson& s, const std::string& q) -> ApiStatus {
        if (!s.is_object()) return WrongType(q, "a JSON schema", s);
        schema = s.dump();
        return {};
      };
    }
    if (ApiStatus error = ReadFields(v, p + ".", readers)) return error;
    if (type == 2 && schema.empty()) return InvalidField(p + ".schema", "expected a JSON schema, found none");
    using Kind = ResponseFormat::Kind;
    request->response_format = {type == 0   ? Kind::kText
                                : type == 1 ? Kind::kJsonObject
                                            : Kind::kJsonSchema,
                                schema};
    return {};
  };
  return ReadFields(
      value, param + ".",
      {{"format", format},
       {"verbosity", Refuse("not supported: ask for it in the instructions", R"(["medium"])")}});
}

ApiStatus ReadReasoning(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  const auto effort = [request](const FieldJson& v, const std::string& p) -> ApiStatus {
    std::string text;
    if (ApiStatus error = ReadField(v, p, &text)) return error;
    return SetReasoningEffort(text, p, request);
  };
  // What the model thinks is told as it is.
  return ReadFields(value, param + ".",
                    {{"effort", effort}, {"summary", IgnoreField}, {"generate_summary", IgnoreField}});
}

// The members of the answer that repeat the request.
FieldJson Echo(const FieldJson& json, const ChatRequest& request) {
  FieldJson echo = FieldJson::object();
  const auto copy = [&](const char* name, FieldJson otherwise) {
    echo[name] = json.contains(name) ? json[name] : std::move(otherwise);
    if (echo[name].is_null()) echo[name] = FieldJson();
  };
  copy("instructions", nullptr);
  copy("max_output_tokens", nullptr);
  copy("metadata", FieldJson::object());
  copy("parallel_tool_calls", true);
  echo["previous_response_id"] = nullptr;
  copy("reasoning", {{"effort", nullptr}, {"summary", nullptr}});
  echo["store"] = false;
  copy("temperature", nullptr);
  copy("text", {{"format", {{"type", "text"}}}});
  copy("tool_choice", "auto");
  copy("tools", FieldJson::array());
  copy("top_p", nullptr);
  copy("user", nullptr);
  echo["truncation"] = "disabled";
  echo["background"] = false;
  if (request.tools == nullptr) echo["tools"] = FieldJson::array();
  for (const char* name : {"metadata", "parallel_tool_calls", "text", "tool_choice", "reasoning"}) {
    if (!echo[name].is_null()) continue;
    echo[name] = name == std::string_view("parallel_tool_calls") ? FieldJson(true)
                 : name == std::string_view("tool_choice")       ? FieldJson("auto")
                                                                 : FieldJson::object();
  }
  return echo;
}

}  // namespace

ApiStatus ParseResponses(std::string_view body, ResponsesRequest* request) {
  FieldJson json;
  if (ApiStatus error = ParseBody(body, &json)) return error;
  ChatRequest& chat = request->chat;
  ConversationBuilder builder;
  if (json.contains("instructions") && !json["instructions"].is_null()) {
    std::string instructions;
    if (ApiStatus error = ReadField(json["instructions"], "instructions", &instructions)) return error;
    builder.AddText("system", std::move(instructions));
  }
  if (json.contains("tools") && !json["tools"].is_null()) {
    if (ApiStatus error = ReadFlatTools(json["tools"], "tools", &chat)) return error;
  }
  const auto with = [&chat](auto function) {
    return [function, &chat](const FieldJson& v, const std::string& p) { return function(v, p, &chat); };
  };
  bool has_input = false;
  FieldReaders readers = {
      {"model", Into(&chat.model)},
      {"input",
       [&](const FieldJson& v, const std::string& p) {
         has_input = true;
         return ReadInput(v, p, &builder);
       }},
      {"instructions", IgnoreField},
      {"tools", IgnoreField},
      {"tool_choice", with(ReadFlatToolChoice)},
      {"parallel_tool_calls", Into(&chat.parallel_tool_calls)},
      {"max_output_tokens",
       [&](const FieldJson& v, const std::string& p) {
         return ReadInteger(v, p, 1, INT64_MAX, &chat.max_tokens);
       }},
      {"temperature", Into(&chat.temperature)},
      {"top_p", Into(&chat.top_p)},
      {"text", with(ReadText)},
      {"reasoning", with(ReadReasoning)},
      {"stream", Into(&chat.stream)},
      {"truncation", Refuse("expected \"disabled\": this server leaves nothing out", R"(["disabled"])")},
      {"background", Refuse("not supported: nothing is stored", "[false]")},
      {"previous_response_id",
       Refuse("not supported: nothing is stored; send the earlier items in \"input\"")},
      {"conversation", Refuse("not supported: nothing is stored; send the earlier items in \"input\"")},
      {"prompt", Refuse("not supported: nothing is stored; send it in \"input\"")},
      {"context_management", Refuse("not supported by this server")},
      {"moderation", Refuse("not supported by this server")},
      {"top_logprobs", Refuse("not supported here: /v1/chat/completions tells logprobs", "[0]")},
  };
  for (const char* name :
       {"store", "metadata", "user", "service_tier", "safety_identifier", "prompt_cache_key",
        "prompt_cache_options", "prompt_cache_retention", "include", "stream_options", "max_tool_calls"}) {
    readers[name] = IgnoreField;
  }
  AddExtensionReaders(&chat, &readers);
  if (ApiStatus error = ReadFields(json, "", readers)) return error;
  if (!has_input) {
    ApiError error = InvalidField("input", "expected a string or a list of items, found none");
    error.code = "missing_required_parameter";
    return error;
  }
  if (ApiStatus error = CheckToolChoice(&chat)) return error;
  chat.messages = builder.Messages();
  request->echo = std::make_shared<const FieldJson>(Echo(json, chat));
  return CheckRequest(chat);
}

}  // namespace deepshock
