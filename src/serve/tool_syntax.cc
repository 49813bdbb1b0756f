// SPDX-License-Identifier: Apache-2.0
// The syntaxes by their publishers' chat templates (deepseek-ai/DeepSeek-V3, -R1, -V3.1, -V3.2,
// moonshotai/Kimi-K2, Qwen/Qwen3, Qwen/Qwen3-Coder, zai-org/GLM-4.5, mistralai's, all on huggingface.co).
#include "serve/tool_syntax.h"

#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"
#include "serve/json_fields.h"

namespace deepshock {
namespace {

constexpr std::string_view kSpace = " \n\r\t";

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// What stands before `end`, which is taken too.
bool TakeUntil(std::string_view end, std::string_view* text, std::string_view* taken) {
  const size_t at = text->find(end);
  if (at == std::string_view::npos) return false;
  *taken = text->substr(0, at);
  text->remove_prefix(at + end.size());
  return true;
}

bool IsToolName(std::string_view name) {
  if (name.empty() || name.size() > 256) return false;
  for (const char c : name) {
    if (!IsToolNameChar(c)) return false;
  }
  return true;
}

bool IsJsonObject(std::string_view text) {
  const Result<Json> json = ParseJson(text);
  return json.ok() && json->is_object();
}

// Text that is itself the JSON object of the arguments; none at all counts as no arguments.
BodyVerdict RawCall(std::string_view name, std::string_view arguments, ToolCall* call) {
  name = Trim(name);
  arguments = Trim(arguments);
  if (arguments.empty()) arguments = "{}";
  if (!IsToolName(name) || !IsJsonObject(arguments)) return BodyVerdict::kNoCall;
  call->name = std::string(name);
  call->arguments = std::string(arguments);
  return BodyVerdict::kCall;
}

// V3 and R1: function<sep>NAME\n```json\n{...}\n```. V3.1: NAME<sep>{...}.
BodyVerdict DeepSeekCall(std::string_view body, ToolCall* call) {
  std::string_view head, name;
  if (!TakeUntil("<｜tool▁sep｜>", &body, &head)) return BodyVerdict::kNoCall;
  const size_t fence = body.find("```json");
  if (Trim(head) != "function" || fence == std::string_view::npos) return RawCall(head, body, call);
  name = body.substr(0, fence);
  body = Trim(body.substr(fence + 7));
  if (!body.ends_with("```")) return BodyVerdict::kNoCall;
  body.remove_suffix(3);
  return RawCall(name, body, call);
}

// functions.NAME:INDEX<|tool_call_argument_begin|>{...}; what stands before is the call's id.
BodyVerdict KimiCall(std::string_view body, ToolCall* call) {
  std::string_view head;
  if (!TakeUntil("<|tool_call_argument_begin|>", &body, &head)) return BodyVerdict::kNoCall;
  head = Trim(head);
  std::string_view name = head;
  TakePrefix("functions.", &name);
  name = name.substr(0, name.rfind(':'));
  const BodyVerdict verdict = RawCall(name, body, call);
  if (verdict == BodyVerdict::kCall) call->id = std::string(head);
  return verdict;
}

// The schema of an argument, or null.
const FieldJson* ArgumentSchema(const SharedJson& tools, std::string_view tool_name,
                                const std::string& argument) {
  if (tools == nullptr) return nullptr;
  for (const FieldJson& tool : *tools) {
    const FieldJson& function = tool["function"];
    if (function["name"] != tool_name) continue;
    const auto parameters = function.find("parameters");
    if (parameters == function.end() || !parameters->is_object()) return nullptr;
    const auto properties = parameters->find("properties");
    if (properties == parameters->end() || !properties->is_object()) return nullptr;
    const auto schema = properties->find(argument);
    return schema == properties->end() || !schema->is_object() ? nullptr : &*schema;
  }
  return nullptr;
}

const char* JsonTypeName(const FieldJson& value) {
  if (value.is_number_integer()) return "integer";
  return value.is_number() ? "number" : value.type_name();
}

// Whether `schema` allows a value of the JSON type, as far as its own "type" and "anyOf" tell.
bool AllowsType(const FieldJson& schema, std::string_view type) {
  const auto named = schema.find("type");
  if (named != schema.end()) {
    if (named->is_string()) return *named == type || (*named == "number" && type == "integer");
    for (const FieldJson& one : *named) {
      if (one == type || (one == "number" && type == "integer")) return true;
    }
    return false;
  }
  const auto choices = schema.find("anyOf");
  if (choices == schema.end() || !choices->is_array()) return true;
  for (const FieldJson& choice : *choices) {
    if (choice.is_object() && AllowsType(choice, type)) return true;
  }
  return false;
}

// An argument that is written as bare text: JSON where its schema wants another type than a string, and it is
// such.
FieldJson ArgumentValue(const FieldJson* schema, std::string_view text) {
  if (schema != nullptr) {
    const std::string_view trimmed = Trim(text);
    if (const Result<Json> json = ParseJson(trimmed); json.ok()) {
      FieldJson value = FieldJson::parse(trimmed, nullptr, false);
      const bool only_typed = schema->contains("type") || schema->contains("anyOf");
      if (only_typed && !value.is_string() && AllowsType(*schema, JsonTypeName(value))) return value;
    }
  }
  return std::string(text);
}

// The text may be cut inside a character, where an answer ends early.
std::string Dump(const FieldJson& json) {
  return json.dump(-1, ' ', false, FieldJson::error_handler_t::replace);
}

void SetArgument(std::string_view key, FieldJson value, FieldJson* arguments) {
  (*arguments)[std::string(key)] = std::move(value);
}

// <function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>...</function>
BodyVerdict QwenXmlCall(std::string_view body, const SharedJson& tools, ToolCall* call) {
  body = Trim(body);
  std::string_view name;
  if (!TakePrefix("<function=", &body) || !TakeUntil(">", &body, &name) || !IsToolName(name)) {
    return BodyVerdict::kNoCall;
  }
  FieldJson arguments = FieldJson::object();
  for (body = Trim(body); body != "</function>"; body = Trim(body)) {
    std::string_view key;
    if (!TakePrefix("<parameter=", &body) || !TakeUntil(">", &body, &key)) return BodyVerdict::kNoCall;
    // A value may hold "</parameter>": it ends at the one that another parameter or the end of the function
    // follows.
    size_t end = 0;
    for (;; ++end) {
      end = body.find("</parameter>", end);
      if (end == std::string_view::npos) return BodyVerdict::kNoCall;
      const std::string_view rest = Trim(body.substr(end + 12));
      if (rest.starts_with("<parameter=") || rest == "</function>") break;
    }
    std::string_view value = body.substr(0, end);
    body.remove_prefix(end + 12);
    TakePrefix("\n", &value);
    if (value.ends_with('\n')) value.remove_suffix(1);
    SetArgument(key, ArgumentValue(ArgumentSchema(tools, name, std::string(key)), value), &arguments);
  }
  call->name = std::string(name);
  call->arguments = Dump(arguments);
  return BodyVerdict::kCall;
}

// NAME\n<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>...
BodyVerdict GlmCall(std::string_view body, const SharedJson& tools, ToolCall* call) {
  const size_t first = std::min(body.find("<arg_key>"), body.size());
  const std::string_view name = Trim(body.substr(0, first));
  if (!IsToolName(name)) return BodyVerdict::kNoCall;
  FieldJson arguments = FieldJson::object();
  for (body = Trim(body.substr(first)); !body.empty(); body = Trim(body)) {
    std::string_view key, value;
    if (!TakePrefix("<arg_key>", &body) || !TakeUntil("</arg_key>", &body, &key)) return BodyVerdict::kNoCall;
    body = Trim(body);
    if (!TakePrefix("<arg_value>", &body) || !TakeUntil("</arg_value>", &body, &value))
      return BodyVerdict::kNoCall;
    key = Trim(key);
    SetArgument(key, ArgumentValue(ArgumentSchema(tools, name, std::string(key)), value), &arguments);
  }
  call->name = std::string(name);
  call->arguments = Dump(arguments);
  return BodyVerdict::kCall;
}

// ` name="NAME">` and parameters: <｜DSML｜parameter name="KEY" string="true">VALUE</｜DSML｜parameter>; with
// string="false" the value is JSON.
BodyVerdict DsmlCall(std::string_view body, ToolCall* call) {
  std::string_view name;
  body = Trim(body);
  if (!TakePrefix("name=\"", &body) || !TakeUntil("\">", &body, &name) || !IsToolName(name)) {
    return BodyVerdict::kNoCall;
  }
  FieldJson arguments = FieldJson::object();
  for (body = Trim(body); !body.empty(); body = Trim(body)) {
    std::string_view key, kind, value;
    if (!TakePrefix("<｜DSML｜parameter name=\"", &body) || !TakeUntil("\"", &body, &key))
      return BodyVerdict::kNoCall;
    body = Trim(body);
    if (!TakePrefix("string=\"", &body) || !TakeUntil("\">", &body, &kind)) return BodyVerdict::kNoCall;
    if (!TakeUntil("</｜DSML｜parameter>", &body, &value)) return BodyVerdict::kNoCall;
    if (kind == "true") {
      SetArgument(key, std::string(value), &arguments);
    } else if (ParseJson(value).ok()) {
      SetArgument(key, FieldJson::parse(value, nullptr, false), &arguments);
    } else {
      return BodyVerdict::kNoCall;
    }
  }
  call->name = std::string(name);
  call->arguments = Dump(arguments);
  return BodyVerdict::kCall;
}

bool JsonCall(const FieldJson& json, ToolCall* call) {
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string()) return false;
  call->name = json["name"].get<std::string>();
  if (!IsToolName(call->name)) return false;
  if (json.contains("id") && json["id"].is_string()) call->id = json["id"].get<std::string>();
  const auto arguments = json.contains("arguments") ? json.find("arguments") : json.find("parameters");
  if (arguments == json.end() || arguments->is_null()) {
    call->arguments = "{}";
  } else if (arguments->is_object()) {
    call->arguments = Dump(*arguments);
  } else if (arguments->is_string() && IsJsonObject(arguments->get<std::string>())) {
    call->arguments = arguments->get<std::string>();
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool IsToolNameChar(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_-.:/").find(c) != std::string_view::npos;
}

CallMarkers MarkersOf(CallSyntax syntax) {
  switch (syntax) {
    case CallSyntax::kDeepSeek:
      return {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>",
              "<｜tool▁calls▁end｜>"};
    case CallSyntax::kDsml:
      return {"<｜DSML｜function_calls>", "<｜DSML｜invoke", "</｜DSML｜invoke>",
              "</｜DSML｜function_calls>"};
    case CallSyntax::kKimi:
      return {"<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_end|>",
              "<|tool_calls_section_end|>"};
    case CallSyntax::kHermes:
    case CallSyntax::kQwenXml:
    case CallSyntax::kGlm:
      return {"", "<tool_call>", "</tool_call>", ""};
    case CallSyntax::kMistral:
      return {"", "[TOOL_CALLS]", "", ""};
    case CallSyntax::kLlama:
      return {"", "<|python_tag|>", "", ""};
    default:
      return {};
  }
}

BodyVerdict ParseCallBody(CallSyntax syntax, std::string_view body, const SharedJson& tools, ToolCall* call) {
  switch (syntax) {
    case CallSyntax::kDeepSeek:
      return DeepSeekCall(body, call);
    case CallSyntax::kDsml:
      return DsmlCall(body, call);
    case CallSyntax::kKimi:
      return KimiCall(body, call);
    case CallSyntax::kQwenXml:
      return QwenXmlCall(body, tools, call);
    case CallSyntax::kGlm:
      return GlmCall(body, tools, call);
    case CallSyntax::kHermes: {
      const std::string_view text = Trim(body);
      std::vector<ToolCall> calls;
      if (ParseJsonCalls(text, &calls) && calls.size() == 1) {
        *call = std::move(calls[0]);
        return BodyVerdict::kCall;
      }
      return !text.empty() && !JsonScanner().Scan(text) ? BodyVerdict::kNotYet : BodyVerdict::kNoCall;
    }
    default:
      return BodyVerdict::kNoCall;
  }
}

bool MayBeCallBody(CallSyntax syntax, std::string_view beginning) {
  const size_t first = beginning.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return true;
  beginning = beginning.substr(first);
  switch (syntax) {
    case CallSyntax::kHermes:
      return beginning[0] == '{';
    case CallSyntax::kQwenXml: {
      constexpr std::string_view kOpening = "<function=";
      return beginning.substr(0, kOpening.size()) == kOpening.substr(0, beginning.size());
    }
    case CallSyntax::kGlm: {
      const size_t end = beginning.find_first_of("\n<");
      for (const char c : beginning.substr(0, end)) {
        if (!IsToolNameChar(c) && kSpace.find(c) == std::string_view::npos) return false;
      }
      return end != 0;
    }
    default:
      return true;
  }
}

bool ParseJsonCalls(std::string_view text, std::vector<ToolCall>* calls) {
  if (!ParseJson(text).ok()) return false;
  const FieldJson json = FieldJson::parse(text, nullptr, false);
  if (!json.is_array()) return JsonCall(json, &calls->emplace_back());
  for (const FieldJson& one : json) {
    if (!JsonCall(one, &calls->emplace_back())) return false;
  }
  return !json.empty();
}

bool JsonScanner::Scan(std::string_view text) {
  for (; position_ < text.size(); ++position_) {
    const char c = text[position_];
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ <= 0) {
      ++position_;
      return true;
    }
  }
  return false;
}

}  // namespace deepshock
