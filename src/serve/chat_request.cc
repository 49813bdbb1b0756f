// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_request.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/sampler.h"
#include "runtime/stop_matcher.h"
#include "serve/chat_messages.h"
#include "serve/json_fields.h"

namespace deepshock {
namespace {

// Added to what the selection of experts is made on, for "pin": scores are 0 to 1, logits some tens at most,
// and float32 still tells the pinned ones apart.
constexpr double kPinBias = 1000;

// A reader that fills a member.
template <typename T>
std::function<ApiStatus(const FieldJson&, const std::string&)> Into(T* out) {
  return [out](const FieldJson& value, const std::string& param) { return ReadField(value, param, out); };
}

ApiStatus ReadRules(ExpertRule::Kind kind, const FieldJson& value, const std::string& param,
                    std::vector<ExpertRule>* rules) {
  if (!value.is_object()) return WrongType(param, "an object of experts and numbers", value);
  for (const auto& [experts, number] : value.items()) {
    ExpertRule rule{kind, experts, 0};
    if (ApiStatus error = ReadField(number, param + "." + experts, &rule.value)) return error;
    rules->push_back(std::move(rule));
  }
  return {};
}

ApiStatus ReadExperts(const FieldJson& value, const std::string& param, RoutingOptions* routing) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  const auto list = [routing](ExpertRule::Kind kind, double number) {
    return [routing, kind, number](const FieldJson& v, const std::string& p) -> ApiStatus {
      std::vector<std::string> names;
      if (ApiStatus error = ReadField(v, p, &names)) return error;
      for (std::string& name : names) routing->rules.push_back({kind, std::move(name), number});
      return {};
    };
  };
  const auto rules = [routing](ExpertRule::Kind kind) {
    return [routing, kind](const FieldJson& v, const std::string& p) {
      return ReadRules(kind, v, p, &routing->rules);
    };
  };
  const auto count = [](int* out) {
    return [out](const FieldJson& v, const std::string& p) -> ApiStatus {
      int64_t number = 0;
      if (ApiStatus error = ReadInteger(v, p, 1, INT32_MAX, &number)) return error;
      *out = static_cast<int>(number);
      return {};
    };
  };
  return ReadFields(value, param + ".",
                    {{"ban", list(ExpertRule::Kind::kBan, 0)},
                     {"pin", list(ExpertRule::Kind::kBias, kPinBias)},
                     {"bias", rules(ExpertRule::Kind::kBias)},
                     {"boost", rules(ExpertRule::Kind::kBoost)},
                     {"experts_per_token", count(&routing->experts_per_token)},
                     {"min_experts", count(&routing->min_experts)},
                     {"adaptive_experts", Into(&routing->adaptive_experts)},
                     {"explain", Into(&routing->explain)}});
}

ApiStatus ReadTokenIds(const FieldJson& value, const std::string& param, std::vector<int32_t>* out) {
  if (!value.is_array()) return WrongType(param, "a list of token ids", value);
  out->clear();
  out->reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    int64_t id = 0;
    if (ApiStatus error = ReadInteger(value[i], fmt::format("{}[{}]", param, i), 0, INT32_MAX, &id))
      return error;
    out->push_back(static_cast<int32_t>(id));
  }
  return {};
}

ApiStatus ReadLogitBias(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object of token ids and numbers", value);
  for (const auto& [key, number] : value.items()) {
    int32_t token = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size() || token < 0) {
      return InvalidField(param, "expected token ids as keys, found \"{}\"", key);
    }
    double bias = 0;
    if (ApiStatus wrong = ReadField(number, param + "." + key, &bias)) return wrong;
    request->logit_bias.emplace_back(token, bias);
  }
  return {};
}

ApiStatus ReadSeed(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (value.is_number_unsigned()) {
    request->seed = value.get<uint64_t>();
    return {};
  }
  int64_t seed = 0;
  if (ApiStatus error = ReadField(value, param, &seed)) return error;
  request->seed = static_cast<uint64_t>(seed);
  return {};
}

// https://platform.openai.com/docs/api-reference/chat/create: response_format. Besides OpenAI's there are
// {"type": "grammar", "grammar": TEXT} and {"type": "regex", "regex": TEXT}.
ApiStatus ReadResponseFormat(const FieldJson& value, const std::string& param, ChatRequest* request) {
  using Kind = ResponseFormat::Kind;
  if (!value.is_object()) return WrongType(param, "an object", value);
  size_t type = 0;
  if (!value.contains("type")) return InvalidField(param + ".type", "expected the format's type, found none");
  if (ApiStatus error = ReadChoice(value["type"], param + ".type",
                                   {"text", "json_object", "json_schema", "grammar", "regex"}, &type)) {
    return error;
  }
  const Kind kinds[] = {Kind::kText, Kind::kJsonObject, Kind::kJsonSchema, Kind::kGrammar, Kind::kRegex};
  request->response_format.kind = kinds[type];
  FieldReaders readers = {{"type", IgnoreField}};
  std::string ignored, text;
  bool strict = false;
  const auto schema = [&](const FieldJson& v, const std::string& p) -> ApiStatus {
    if (!v.is_object() && !v.is_boolean()) return WrongType(p, "a JSON schema", v);
    text = v.dump();
    return {};
  };
  const char* name = kinds[type] == Kind::kGrammar ? "grammar" : "regex";
  if (kinds[type] == Kind::kJsonSchema) {
    readers["json_schema"] = [&](const FieldJson& v, const std::string& p) -> ApiStatus {
      if (!v.is_object()) return WrongType(p, "an object", v);
      return ReadFields(v, p + ".",
                        {{"name", Into(&ignored)},
                         {"description", Into(&ignored)},
                         {"schema", schema},
                         {"strict", Into(&strict)}});
    };
    name = "json_schema.schema";
  } else if (kinds[type] == Kind::kGrammar || kinds[type] == Kind::kRegex) {
    readers[name] = Into(&text);
  }
  if (ApiStatus error = ReadFields(value, param + ".", readers)) return error;
  if (type >= 2 && text.empty())
    return InvalidField(param + "." + name, "expected with this type, found none");
  request->response_format.text = std::move(text);
  return {};
}

ApiStatus ReadStreamOptions(const FieldJson& value, const std::string& param, ChatRequest* request) {
  if (!value.is_object()) return WrongType(param, "an object", value);
  return ReadFields(value, param + ".",
                    {{"include_usage", Into(&request->stream_usage)}, {"include_obfuscation", IgnoreField}});
}

ApiStatus ReadCount(const FieldJson& value, const std::string& param, ChatRequest* request) {
  int64_t count = 0;
  if (ApiStatus error = ReadInteger(value, param, 1, kMaxChoices, &count)) return error;
  request->num_choices = static_cast<int>(count);
  return {};
}

ApiStatus ReadMaxTokens(const FieldJson& value, const std::string& param, ChatRequest* request) {
  return ReadInteger(value, param, 1, INT64_MAX, &request->max_tokens);
}

template <typename Function>
std::function<ApiStatus(const FieldJson&, const std::string&)> With(Function function, ChatRequest* request) {
  return [function, request](const FieldJson& value, const std::string& param) {
    return function(value, param, request);
  };
}

// Refuses a field that would change the answer, whatever it holds but the values that ask for nothing.
std::function<ApiStatus(const FieldJson&, const std::string&)> Only(const char* harmless_values,
                                                                    const char* why) {
  return [harmless = FieldJson::parse(harmless_values), why](const FieldJson& value,
                                                             const std::string& param) -> ApiStatus {
    for (const FieldJson& allowed : harmless) {
      if (value == allowed) return {};
    }
    ApiError error = InvalidField(param, "{}", why);
    error.code = "unsupported_parameter";
    return error;
  };
}

// What both bodies of OpenAI's have.
FieldReaders CommonReaders(ChatRequest* request) {
  FieldReaders readers = {
      {"model", Into(&request->model)},
      {"frequency_penalty", Into(&request->frequency_penalty)},
      {"presence_penalty", Into(&request->presence_penalty)},
      {"temperature", Into(&request->temperature)},
      {"top_p", Into(&request->top_p)},
      {"logit_bias", With(ReadLogitBias, request)},
      {"max_tokens", With(ReadMaxTokens, request)},
      {"n", With(ReadCount, request)},
      {"seed", With(ReadSeed, request)},
      {"stop", Into(&request->stop)},
      {"stream", Into(&request->stream)},
      {"stream_options", With(ReadStreamOptions, request)},
      {"response_format", With(ReadResponseFormat, request)},
      // Who asks, and how it is paid, stored and cached elsewhere.
      {"user", IgnoreField},
      {"metadata", IgnoreField},
  };
  AddExtensionReaders(request, &readers);
  return readers;
}

FieldReaders ChatReaders(ChatRequest* request, bool* logprobs, int64_t* top_logprobs) {
  FieldReaders readers = CommonReaders(request);
  readers["messages"] = With(ReadMessages, request);
  readers["tools"] = IgnoreField;  // read before the choice
  readers["tool_choice"] = With(ReadToolChoice, request);
  readers["parallel_tool_calls"] = Into(&request->parallel_tool_calls);
  readers["max_completion_tokens"] = With(ReadMaxTokens, request);
  readers["logprobs"] = Into(logprobs);
  readers["top_logprobs"] = [top_logprobs](const FieldJson& value, const std::string& param) {
    return ReadInteger(value, param, 0, kMaxTopLogprobs, top_logprobs);
  };
  readers["reasoning_effort"] = [request](const FieldJson& value, const std::string& param) -> ApiStatus {
    std::string effort;
    if (ApiStatus error = ReadField(value, param, &effort)) return error;
    return SetReasoningEffort(effort, param, request);
  };
  for (const char* name : {"store", "service_tier", "safety_identifier", "prompt_cache_key",
                           "prompt_cache_options", "prompt_cache_retention", "prediction"}) {
    readers[name] = IgnoreField;
  }
  readers["modalities"] = Only(R"([["text"]])", "expected [\"text\"], which is all that this server writes");
  readers["verbosity"] = Only(R"(["medium"])", "not supported: ask for it in the system message");
  readers["audio"] = Only("[]", "not supported: this server writes text only");
  readers["web_search_options"] = Only("[]", "not supported: this server does not search");
  readers["moderation"] = Only("[]", "not supported by this server");
  readers["functions"] = Only("[[]]", "no longer supported: expected \"tools\" instead");
  readers["function_call"] = Only(R"(["none"])", "no longer supported: expected \"tool_choice\" instead");
  return readers;
}

// A string, a list of strings, a list of token ids, or a list of such lists.
ApiStatus ReadPrompts(const FieldJson& value, const std::string& param, ChatRequest* request) {
  const auto add_text = [request](const FieldJson& text, const std::string& p) -> ApiStatus {
    std::string read;
    if (ApiStatus error = ReadField(text, p, &read)) return error;
    if (read.empty()) return InvalidField(p, "expected some text, found an empty string");
    request->prompts.push_back({std::move(read), {}});
    return {};
  };
  const auto add_tokens = [request](const FieldJson& tokens, const std::string& p) -> ApiStatus {
    CompletionPrompt prompt;
    if (ApiStatus error = ReadTokenIds(tokens, p, &prompt.tokens)) return error;
    if (prompt.tokens.empty()) return InvalidField(p, "expected some tokens, found none");
    request->prompts.push_back(std::move(prompt));
    return {};
  };
  if (value.is_string()) return add_text(value, param);
  if (!value.is_array()) return WrongType(param, "a string, a list of strings or token ids", value);
  if (value.empty()) return InvalidField(param, "expected at least one prompt, found none");
  if (value[0].is_number()) return add_tokens(value, param);
  if (value.size() > static_cast<size_t>(kMaxChoices)) {
    return InvalidField(param, "expected at most {} prompts, found {}", kMaxChoices, value.size());
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string p = fmt::format("{}[{}]", param, i);
    if (ApiStatus error = value[i].is_array() ? add_tokens(value[i], p) : add_text(value[i], p)) return error;
  }
  return {};
}

SharedJson WithVariable(const SharedJson& variables, const std::string& name, FieldJson value) {
  FieldJson all = variables != nullptr ? *variables : FieldJson::object();
  if (!all.contains(name)) all[name] = std::move(value);
  return std::make_shared<const FieldJson>(std::move(all));
}

}  // namespace

SamplingOptions ChatRequest::Sampling(SamplingOptions defaults) const {
  const auto lay = [](const auto& given, auto* value) {
    if (given) *value = *given;
  };
  lay(temperature, &defaults.temperature);
  lay(top_k, &defaults.top_k);
  lay(top_p, &defaults.top_p);
  lay(min_p, &defaults.min_p);
  lay(repetition_penalty, &defaults.repetition_penalty);
  lay(presence_penalty, &defaults.presence_penalty);
  lay(frequency_penalty, &defaults.frequency_penalty);
  if (!logit_bias.empty()) defaults.logit_bias = logit_bias;
  if (seed) defaults.seed = seed;
  return defaults;
}

ApiStatus ReadPriority(const FieldJson& value, const std::string& param, ChatRequest* request) {
  int64_t priority = 0;
  if (ApiStatus error = ReadInteger(value, param, -1000, 1000, &priority)) return error;
  request->priority = static_cast<int>(priority);
  return {};
}

void AddExtensionReaders(ChatRequest* request, FieldReaders* readers) {
  (*readers)["experts"] = [request](const FieldJson& value, const std::string& param) {
    return ReadExperts(value, param, &request->routing);
  };
  (*readers)["expert_type"] = Into(&request->expert_type);
  (*readers)["top_k"] = Into(&request->top_k);
  (*readers)["min_p"] = Into(&request->min_p);
  (*readers)["repetition_penalty"] = Into(&request->repetition_penalty);
  (*readers)["ignore_eos"] = Into(&request->ignore_eos);
  (*readers)["stop_token_ids"] = [request](const FieldJson& value, const std::string& param) {
    return ReadTokenIds(value, param, &request->stop_tokens);
  };
  (*readers)["priority"] = With(ReadPriority, request);
  (*readers)["chat_template_kwargs"] = [request](const FieldJson& value,
                                                 const std::string& param) -> ApiStatus {
    if (!value.is_object()) return WrongType(param, "an object", value);
    for (const auto& [name, variable] : value.items()) {
      request->template_variables = WithVariable(request->template_variables, name, variable);
    }
    return {};
  };
}

ApiStatus SetReasoningEffort(const std::string& effort, const std::string& param, ChatRequest* request) {
  size_t index = 0;
  if (ApiStatus error =
          ReadChoice(effort, param, {"none", "minimal", "low", "medium", "high", "xhigh", "max"}, &index)) {
    return error;
  }
  // gpt-oss reads reasoning_effort, Qwen3 and GLM enable_thinking, DeepSeek-V3.1 thinking.
  SharedJson& variables = request->template_variables;
  if (index > 0) variables = WithVariable(variables, "reasoning_effort", effort);
  variables = WithVariable(variables, "enable_thinking", index > 0);
  variables = WithVariable(variables, "thinking", index > 0);
  return {};
}

ApiStatus CheckRequest(const ChatRequest& request) {
  if (const Status ranges = ValidateSamplingRanges(request.Sampling({})); !ranges.ok())
    return InvalidFrom(ranges);
  if (const Result<StopMatcher> stops = StopMatcher::Create(request.stop); !stops.ok()) {
    return InvalidField("stop", "{}", stops.message());
  }
  const size_t choices =
      static_cast<size_t>(request.num_choices) * std::max<size_t>(request.prompts.size(), 1);
  if (choices > static_cast<size_t>(kMaxChoices)) {
    return InvalidField("n", "expected at most {} answers, n times the prompts, found {}", kMaxChoices,
                        choices);
  }
  if (request.stream_usage && !request.stream) {
    return InvalidField("stream_options", "expected with \"stream\": true only");
  }
  if (request.tool_choice == ToolChoice::kRequired &&
      request.response_format.kind != ResponseFormat::Kind::kText) {
    return InvalidField("response_format", "expected \"text\" where tool_choice asks for a call");
  }
  return {};
}

ApiStatus ParseChatCompletion(std::string_view body, ChatRequest* request) {
  FieldJson json;
  if (ApiStatus error = ParseBody(body, &json)) return error;
  bool logprobs = false;
  int64_t top_logprobs = -1;
  if (json.contains("tools") && !json["tools"].is_null()) {
    if (ApiStatus error = ReadTools(json["tools"], "tools", request)) return error;
  }
  if (ApiStatus error = ReadFields(json, "", ChatReaders(request, &logprobs, &top_logprobs))) return error;
  if (request->messages == nullptr) {
    ApiError error = InvalidField("messages", "expected a list of messages, found none");
    error.code = "missing_required_parameter";
    return error;
  }
  if (ApiStatus error = CheckToolChoice(request)) return error;
  if (top_logprobs >= 0 && !logprobs)
    return InvalidField("top_logprobs", "expected with \"logprobs\": true only");
  if (logprobs) request->num_logprobs = static_cast<int>(std::max<int64_t>(top_logprobs, 0));
  return CheckRequest(*request);
}

ApiStatus ParseCompletion(std::string_view body, ChatRequest* request) {
  FieldJson json;
  if (ApiStatus error = ParseBody(body, &json)) return error;
  int64_t best_of = 0, logprobs = -1;
  request->max_tokens = 16;  // as OpenAI's
  FieldReaders readers = CommonReaders(request);
  readers["prompt"] = With(ReadPrompts, request);
  readers["echo"] = Into(&request->echo);
  readers["logprobs"] = [&](const FieldJson& v, const std::string& p) {
    return ReadInteger(v, p, 0, kMaxTopLogprobs, &logprobs);
  };
  readers["best_of"] = [&](const FieldJson& v, const std::string& p) {
    return ReadInteger(v, p, 1, kMaxChoices, &best_of);
  };
  readers["suffix"] =
      Only(R"([""])", "not supported: this server writes no text that ends before a given one");
  readers.erase("chat_template_kwargs");
  if (ApiStatus error = ReadFields(json, "", readers)) return error;
  if (request->prompts.empty()) {
    ApiError error = InvalidField("prompt", "expected a string, a list of strings or token ids, found none");
    error.code = "missing_required_parameter";
    return error;
  }
  if (best_of > 0 && best_of != request->num_choices) {
    return InvalidField("best_of", "expected n, which is {}: every answer is returned, found {}",
                        request->num_choices, best_of);
  }
  request->num_logprobs = static_cast<int>(logprobs);
  return CheckRequest(*request);
}

}  // namespace deepshock
