// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_messages.h"

#include <nlohmann/json.hpp>
#include <set>

#include "serve/json_fields.h"

namespace deepshock {
namespace {

constexpr size_t kMaxToolName = 256;

std::string At(const std::string& param, size_t index) { return fmt::format("{}[{}]", param, index); }

// A string, or a list of parts of text, which become one string.
ApiStatus ReadContent(const FieldJson& value, const std::string& param, FieldJson* out) {
  if (value.is_string()) {
    *out = value;
    return {};
  }
  if (!value.is_array()) return WrongType(param, "a string or a list of parts", value);
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string part_param = At(param, i);
    if (!value[i].is_object()) return WrongType(part_param, "an object", value[i]);
    std::string type = "text", part, refusal;
    const FieldReaders readers = {
        {"type", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &type); }},
        {"text", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &part); }},
        {"refusal", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &part); }},
        {"annotations", IgnoreField},
        {"cache_control", IgnoreField},
    };
    if (value[i].contains("type")) {
      if (ApiStatus error = ReadField(value[i]["type"], part_param + ".type", &type)) return error;
    }
    if (type != "text" && type != "refusal") {
      return InvalidField(part_param + ".type",
                          "expected \"text\", which is all that this server reads, found \"{}\"", type);
    }
    if (ApiStatus error = ReadFields(value[i], part_param + ".", readers)) return error;
    if (!value[i].contains(type))
      return InvalidField(part_param + "." + type, "expected a string, found none");
    text += part;
  }
  *out = std::move(text);
  return {};
}

ApiStatus ReadToolCall(const FieldJson& value, const std::string& param, FieldJson* out) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  std::string id, type = "function", name, arguments;
  const auto function = [&](const FieldJson& v, const std::string& p) -> ApiStatus {
    if (!v.is_object()) return WrongType(p, "an object", v);
    return ReadFields(
        v, p + ".",
        {{"name", [&](const FieldJson& f, const std::string& q) { return ReadField(f, q, &name); }},
         {"arguments",
          [&](const FieldJson& f, const std::string& q) { return ReadField(f, q, &arguments); }}});
  };
  const FieldReaders readers = {
      {"id", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &id); }},
      {"type", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &type); }},
      {"function", function},
      {"index", IgnoreField},
  };
  if (ApiStatus error = ReadFields(value, param + ".", readers)) return error;
  if (type != "function") return InvalidField(param + ".type", "expected \"function\", found \"{}\"", type);
  if (name.empty()) return InvalidField(param + ".function.name", "expected a function's name, found none");
  *out = {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
  return {};
}

ApiStatus ReadToolCalls(const FieldJson& value, const std::string& param, FieldJson* out) {
  if (!value.is_array()) return WrongType(param, "a list", value);
  *out = FieldJson::array();
  for (size_t i = 0; i < value.size(); ++i) {
    if (ApiStatus error = ReadToolCall(value[i], At(param, i), &out->emplace_back())) return error;
  }
  return {};
}

ApiStatus CheckRole(const FieldJson& message, const std::string& param) {
  const std::string role = message["role"].get<std::string>();
  if (message.contains("tool_calls") && role != "assistant") {
    return InvalidField(param + ".tool_calls", "expected with the role \"assistant\" only, found with \"{}\"",
                        role);
  }
  if (role == "tool" && !message.contains("tool_call_id")) {
    return InvalidField(param + ".tool_call_id", "expected the id of the call that this answers, found none");
  }
  if (message.contains("content")) return {};
  if (role == "assistant" && (message.contains("tool_calls") || message.contains("reasoning_content")))
    return {};
  return InvalidField(param + ".content", "expected a string or a list of parts, found none");
}

ApiStatus ReadMessage(const FieldJson& value, const std::string& param, FieldJson* out) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  *out = FieldJson::object();
  size_t role = 0;
  const std::vector<std::string_view> roles = {"system", "developer", "user", "assistant", "tool"};
  if (!value.contains("role"))
    return InvalidField(param + ".role", "expected the message's role, found none");
  if (ApiStatus error = ReadChoice(value["role"], param + ".role", roles, &role)) return error;
  (*out)["role"] = std::string(roles[role]);
  const auto text = [out](const char* name) {
    return [out, name](const FieldJson& v, const std::string& p) -> ApiStatus {
      std::string read;
      if (ApiStatus error = ReadField(v, p, &read)) return error;
      (*out)[name] = std::move(read);
      return {};
    };
  };
  const FieldReaders readers = {
      {"role", IgnoreField},
      {"content",
       [out](const FieldJson& v, const std::string& p) { return ReadContent(v, p, &(*out)["content"]); }},
      {"name", text("name")},
      {"tool_call_id", text("tool_call_id")},
      {"reasoning_content", text("reasoning_content")},
      {"reasoning", text("reasoning_content")},
      {"refusal", text("refusal")},
      {"tool_calls",
       [out](const FieldJson& v, const std::string& p) -> ApiStatus {
         if (v.is_array() && v.empty()) return {};
         return ReadToolCalls(v, p, &(*out)["tool_calls"]);
       }},
      // What clients copy from an answer when they send it back.
      {"annotations", IgnoreField},
      {"provider_specific_fields", IgnoreField},
      {"cache_control", IgnoreField},
  };
  if (ApiStatus error = ReadFields(value, param + ".", readers)) return error;
  if (!out->contains("content") && out->contains("refusal")) (*out)["content"] = (*out)["refusal"];
  out->erase("refusal");
  if (ApiStatus error = CheckRole(*out, param)) return error;
  if (!out->contains("content")) (*out)["content"] = nullptr;
  return {};
}

ApiStatus ReadTool(const FieldJson& value, const std::string& param, std::set<std::string>* names) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  std::string type = "function";
  if (value.contains("type")) {
    if (ApiStatus error = ReadField(value["type"], param + ".type", &type)) return error;
  }
  if (type != "function") {
    return InvalidField(param + ".type",
                        "expected \"function\", which is all that this server offers, found \"{}\"", type);
  }
  std::string name;
  const FieldReaders function_readers = {
      {"name", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &name); }},
      {"description",
       [](const FieldJson& v, const std::string& p) {
         std::string description;
         return ReadField(v, p, &description);
       }},
      {"parameters",
       [](const FieldJson& v, const std::string& p) -> ApiStatus {
         return v.is_object() ? ApiStatus() : WrongType(p, "a JSON schema", v);
       }},
      {"strict",
       [](const FieldJson& v, const std::string& p) {
         bool strict = false;
         return ReadField(v, p, &strict);
       }},
  };
  const auto function = [&](const FieldJson& v, const std::string& p) -> ApiStatus {
    if (!v.is_object()) return WrongType(p, "an object", v);
    return ReadFields(v, p + ".", function_readers);
  };
  if (ApiStatus error =
          ReadFields(value, param + ".",
                     {{"type", IgnoreField}, {"function", function}, {"cache_control", IgnoreField}})) {
    return error;
  }
  if (ApiStatus error = CheckToolName(name, param + ".function.name")) return error;
  if (!names->insert(name).second) {
    return InvalidField(param + ".function.name", "expected each name once, found \"{}\" again", name);
  }
  return {};
}

std::string NameOf(const FieldJson& tool) { return tool["function"]["name"].get<std::string>(); }

// {"type": "function", "function": {"name": ...}}
ApiStatus ReadNamedTool(const FieldJson& value, const std::string& param, std::string* name) {
  if (!value.is_object() || !value.contains("function") || !value["function"].is_object() ||
      !value["function"].contains("name")) {
    return InvalidField(param + ".function.name", "expected a function's name, found none");
  }
  return ReadField(value["function"]["name"], param + ".function.name", name);
}

// {"type": "allowed_tools", "allowed_tools": {"mode": ..., "tools": [...]}}: as if only those had been given.
ApiStatus ReadAllowedTools(const FieldJson& choice, const std::string& param, ChatRequest* request) {
  if (!choice.contains("allowed_tools") || !choice["allowed_tools"].is_object()) {
    return InvalidField(param + ".allowed_tools", "expected an object, found none");
  }
  const FieldJson& allowed = choice["allowed_tools"];
  size_t mode = 0;
  std::set<std::string> names;
  const std::string inner = param + ".allowed_tools.";
  const FieldReaders readers = {
      {"mode", [&](const FieldJson& v,
                   const std::string& p) { return ReadChoice(v, p, {"auto", "required"}, &mode); }},
      {"tools",
       [&](const FieldJson& v, const std::string& p) -> ApiStatus {
         if (!v.is_array()) return WrongType(p, "a list", v);
         for (size_t i = 0; i < v.size(); ++i) {
           std::string name;
           if (ApiStatus error = ReadNamedTool(v[i], At(p, i), &name)) return error;
           names.insert(std::move(name));
         }
         return {};
       }},
  };
  if (ApiStatus error = ReadFields(allowed, inner, readers)) return error;
  request->tool_choice = mode == 1 ? ToolChoice::kRequired : ToolChoice::kAuto;
  FieldJson kept = FieldJson::array();
  if (request->tools != nullptr) {
    for (const FieldJson& tool : *request->tools) {
      if (names.erase(NameOf(tool)) > 0) kept.push_back(tool);
    }
  }
  if (!names.empty()) {
    return InvalidField(inner + "tools", "expected names of \"tools\", found \"{}\"", *names.begin());
  }
  if (kept.empty()) return InvalidField(inner + "tools", "expected at least one tool, found none");
  request->tools = std::make_shared<const FieldJson>(std::move(kept));
  return {};
}

}  // namespace

ApiStatus CheckToolName(const std::string& name, const std::string& param) {
  const bool well =
      !name.empty() && name.size() <= kMaxToolName &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/") ==
          std::string::npos;
  if (well) return {};
  return InvalidField(param, "expected 1 to {} letters, digits or _-.:/, found \"{}\"", kMaxToolName, name);
}

ApiStatus ReadMessages(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_array()) return WrongType(param, "a list of messages", value);
  if (value.empty() || value.size() > kMaxMessages) {
    return InvalidField(param, "expected 1 to {} messages, found {}", kMaxMessages, value.size());
  }
  FieldJson messages = FieldJson::array();
  for (size_t i = 0; i < value.size(); ++i) {
    if (ApiStatus error = ReadMessage(value[i], At(param, i), &messages.emplace_back())) return error;
  }
  request->messages = std::make_shared<const FieldJson>(std::move(messages));
  return {};
}

ApiStatus ReadTools(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_array()) return WrongType(param, "a list of tools", value);
  if (value.empty()) return {};
  if (value.size() > kMaxTools)
    return InvalidField(param, "expected at most {} tools, found {}", kMaxTools, value.size());
  std::set<std::string> names;
  for (size_t i = 0; i < value.size(); ++i) {
    if (ApiStatus error = ReadTool(value[i], At(param, i), &names)) return error;
  }
  FieldJson tools = FieldJson::array();
  for (const FieldJson& tool : value) tools.push_back({{"type", "function"}, {"function", tool["function"]}});
  request->tools = std::make_shared<const FieldJson>(std::move(tools));
  return {};
}

ApiStatus ReadToolChoice(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (value.is_string()) {
    size_t choice = 0;
    if (ApiStatus error = ReadChoice(value, param, {"auto", "none", "required"}, &choice)) return error;
    const ToolChoice choices[] = {ToolChoice::kAuto, ToolChoice::kNone, ToolChoice::kRequired};
    request->tool_choice = choices[choice];
    return {};
  }
  if (!value.is_object() || !value.contains("type")) {
    return WrongType(param, "\"auto\", \"none\", \"required\" or an object with a \"type\"", value);
  }
  size_t type = 0;
  if (ApiStatus error = ReadChoice(value["type"], param + ".type", {"function", "allowed_tools"}, &type))
    return error;
  if (type == 1) return ReadAllowedTools(value, param, request);
  request->tool_choice = ToolChoice::kRequired;
  return ReadNamedTool(value, param, &request->tool_name);
}

ApiStatus CheckToolChoice(ChatRequest* request) {
  if (request->tools == nullptr) {
    if (request->tool_choice == ToolChoice::kRequired) {
      return InvalidField("tool_choice", "expected with \"tools\" only, found no tools");
    }
    return {};
  }
  if (request->tool_name.empty()) return {};
  for (const FieldJson& tool : *request->tools) {
    if (NameOf(tool) == request->tool_name) return {};
  }
  return InvalidField("tool_choice", "expected the name of one of \"tools\", found \"{}\"",
                      request->tool_name);
}

}  // namespace deepshock
