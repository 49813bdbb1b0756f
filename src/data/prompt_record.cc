// SPDX-License-Identifier: Apache-2.0
#include "data/prompt_record.h"

#include <charconv>
#include <functional>
#include <map>

#include "base/json.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;
using FieldReader = std::function<Status(const OrderedJson& value, PromptRecord* record)>;

Status WrongType(const char* expected, const OrderedJson& value) {
  return Fail("expected {}, found {}", expected, value.type_name());
}

Status ReadInto(const OrderedJson& value, std::optional<double>* out) {
  if (!value.is_number()) return WrongType("a number", value);
  *out = value.get<double>();
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<int64_t>* out) {
  // Numbers past int64 are kept unsigned or as floating point by the parser.
  if (!value.is_number_integer()) return WrongType("an integer", value);
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return Fail("expected an integer of 64 bits, found {}", value.get<uint64_t>());
  }
  *out = value.get<int64_t>();
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<uint64_t>* out) {
  if (!value.is_number_integer()) return WrongType("an integer", value);
  if (!value.is_number_unsigned()) return Fail("expected 0 or more, found {}", value.get<int64_t>());
  *out = value.get<uint64_t>();
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<bool>* out) {
  if (!value.is_boolean()) return WrongType("true or false", value);
  *out = value.get<bool>();
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<std::string>* out) {
  if (!value.is_string()) return WrongType("a string", value);
  *out = value.get<std::string>();
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<std::vector<std::string>>* out) {
  out->emplace();
  if (value.is_string()) {
    (*out)->push_back(value.get<std::string>());
    return {};
  }
  if (!value.is_array()) return WrongType("a string or a list of strings", value);
  for (const OrderedJson& entry : value) {
    if (!entry.is_string()) return WrongType("a list of strings", entry);
    (*out)->push_back(entry.get<std::string>());
  }
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<std::vector<std::pair<int32_t, double>>>* out) {
  if (!value.is_object()) return WrongType("an object of token ids and numbers", value);
  out->emplace();
  for (const auto& [key, bias] : value.items()) {
    int32_t token = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size()) {
      return Fail("expected token ids as keys, found \"{}\"", key);
    }
    if (!bias.is_number()) return WrongType("numbers", bias);
    (*out)->emplace_back(token, bias.get<double>());
  }
  return {};
}

Status ReadInto(const OrderedJson& value, std::optional<std::vector<std::pair<std::string, double>>>* out) {
  if (!value.is_object()) return WrongType("an object of experts and numbers", value);
  out->emplace();
  for (const auto& [key, number] : value.items()) {
    if (!number.is_number()) return WrongType("numbers", number);
    (*out)->emplace_back(key, number.get<double>());
  }
  return {};
}

template <typename Field>
FieldReader Member(Field PromptRecord::* member) {
  return [member](const OrderedJson& value, PromptRecord* record) {
    return ReadInto(value, &(record->*member));
  };
}

FieldReader List(std::string PromptRecord::* member) {
  return [member](const OrderedJson& value, PromptRecord* record) -> Status {
    if (!value.is_array()) return WrongType("a list", value);
    record->*member = value.dump();
    return {};
  };
}

Status ReadResponseFormat(const OrderedJson& value, PromptRecord* record) {
  if (!value.is_object()) return WrongType("an object", value);
  record->response_format = value.dump();
  return {};
}

const std::map<std::string, FieldReader, std::less<>>& Fields() {
  static const std::map<std::string, FieldReader, std::less<>> fields = {
      {"prompt", Member(&PromptRecord::prompt)},
      {"messages", List(&PromptRecord::messages)},
      {"tools", List(&PromptRecord::tools)},
      {"max_tokens", Member(&PromptRecord::max_tokens)},
      {"temperature", Member(&PromptRecord::temperature)},
      {"top_k", Member(&PromptRecord::top_k)},
      {"top_p", Member(&PromptRecord::top_p)},
      {"min_p", Member(&PromptRecord::min_p)},
      {"repetition_penalty", Member(&PromptRecord::repetition_penalty)},
      {"presence_penalty", Member(&PromptRecord::presence_penalty)},
      {"frequency_penalty", Member(&PromptRecord::frequency_penalty)},
      {"logit_bias", Member(&PromptRecord::logit_bias)},
      {"seed", Member(&PromptRecord::seed)},
      {"stop", Member(&PromptRecord::stop)},
      {"ignore_eos", Member(&PromptRecord::ignore_eos)},
      {"logprobs", Member(&PromptRecord::logprobs)},
      {"response_format", ReadResponseFormat},
      {"ban_experts", Member(&PromptRecord::ban_experts)},
      {"bias_experts", Member(&PromptRecord::bias_experts)},
      {"boost_experts", Member(&PromptRecord::boost_experts)},
      {"experts_per_token", Member(&PromptRecord::experts_per_token)},
      {"adaptive_experts", Member(&PromptRecord::adaptive_experts)},
      {"min_experts", Member(&PromptRecord::min_experts)},
      {"explain_experts", Member(&PromptRecord::explain_experts)},
      {"expert_type", Member(&PromptRecord::expert_type)},
  };
  return fields;
}

Status ReadIdentity(const OrderedJson& json, PromptRecord* record) {
  if (json.contains("metadata") && !json["metadata"].is_null()) record->metadata = json["metadata"].dump();
  if (!json.contains("id") || json["id"].is_null()) return {};
  const OrderedJson& id = json["id"];
  if (!id.is_string() && !id.is_number_integer())
    return WrongType("a string or an integer", id).WithContext("id");
  record->id = id.dump();
  return {};
}

}  // namespace

Status ParsePromptRecord(std::string_view line, PromptRecord* record) {
  // Checked first (depth, duplicate keys), then read again with the order of keys, which templates print.
  DS_ASSIGN(const Json checked, ParseJson(line));
  if (!checked.is_object()) return Fail("expected a JSON object, found {}", checked.type_name());
  const OrderedJson json = OrderedJson::parse(line);
  DS_RETURN_IF_ERROR(ReadIdentity(json, record));
  for (const auto& [key, value] : json.items()) {
    if (key == "id" || key == "metadata") continue;
    const auto field = Fields().find(key);
    if (field == Fields().end()) {
      return Fail(
          "unknown field {}; the fields are prompt or messages, tools, id, metadata, the sampling options "
          "and those "
          "of experts",
          OrderedJson(key).dump());
    }
    if (value.is_null()) continue;
    DS_RETURN_IF_ERROR(field->second(value, record).WithContext(key));
  }
  if (record->prompt.has_value() == !record->messages.empty()) {
    return Fail("expected either \"prompt\" or \"messages\", found {}", record->prompt ? "both" : "neither");
  }
  if (record->prompt && !record->tools.empty())
    return Fail("tools: expected \"messages\" with it, found \"prompt\"");
  return {};
}

std::string ErrorRecord(int64_t index, int64_t line, const PromptRecord& record, const std::string& error) {
  OrderedJson json = {{"index", index}, {"line", line}};
  if (!record.id.empty()) json["id"] = OrderedJson::parse(record.id);
  if (!record.metadata.empty()) json["metadata"] = OrderedJson::parse(record.metadata);
  json["error"] = error;
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace deepshock
