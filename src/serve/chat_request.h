// SPDX-License-Identifier: Apache-2.0
// ChatRequest: what a client asks of a model, checked, in the shape that all of the HTTP APIs come down to;
// and the parsers of OpenAI's bodies for /v1/chat/completions and /v1/completions. Every field is read,
// ignored as harmless (docs/server.md) or refused by name. Pure; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deepshock/generation.h"
#include "serve/api_error.h"
#include "serve/json_fields.h"

namespace deepshock {

using SharedJson = std::shared_ptr<const nlohmann::ordered_json>;

// What the answer's text must be.
struct ResponseFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema, kGrammar, kRegex };
  Kind kind = Kind::kText;
  std::string text;  // the schema as JSON, the grammar, the expression
};

enum class ToolChoice { kAuto, kNone, kRequired };

// One of a list of prompts of /v1/completions: text, or tokens where `text` has no value.
struct CompletionPrompt {
  std::optional<std::string> text;
  std::vector<int32_t> tokens;
};

struct ChatRequest {
  std::string model;  // empty: not given

  // One of the two. Messages as OpenAI's, [{"role", "content", ...}]: contents are strings, or null where an
  // assistant's message has none; tool calls have their arguments as text.
  SharedJson messages;
  std::vector<CompletionPrompt> prompts;
  bool echo = false;  // /v1/completions: the prompt's text comes first

  SharedJson tools;  // [{"type": "function", "function": {"name", ...}}], not empty; null: none
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::string tool_name;  // with kRequired: this one; empty: any
  bool parallel_tool_calls = true;

  ResponseFormat response_format;
  SharedJson template_variables;  // an object for the chat template besides the usual ones; null: none

  int64_t max_tokens = 0;  // 0: until the context is full
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k;
  std::vector<std::pair<int32_t, double>> logit_bias;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_tokens;
  bool ignore_eos = false;

  int num_choices = 1;
  int num_logprobs = -1;  // as GenerationRequest
  bool stream = false;
  bool stream_usage = false;  // a chunk with the usage, last

  RoutingOptions routing;
  std::string expert_type;  // a group's name; empty: unknown
  int priority = 0;

  // What was given over `defaults` (the model's own recommendation).
  SamplingOptions Sampling(SamplingOptions defaults) const;
};

constexpr int kMaxChoices = 128;        // of one request: n times prompts
constexpr int kMaxTopLogprobs = 20;     // OpenAI's
constexpr size_t kMaxTools = 1024;      // of one request
constexpr size_t kMaxMessages = 65536;  // of one request

ApiStatus ParseChatCompletion(std::string_view body, ChatRequest* request);
ApiStatus ParseCompletion(std::string_view body, ChatRequest* request);

// Extensions that every API takes under the same names: "experts", "expert_type", "priority", "top_k",
// "min_p", "repetition_penalty", "ignore_eos", "stop_token_ids", "chat_template_kwargs" (docs/server.md).
void AddExtensionReaders(ChatRequest* request, FieldReaders* readers);
ApiStatus ReadPriority(const nlohmann::ordered_json& value, const std::string& param, ChatRequest* request);

// Ranges of what is given, and what does not go together. Called by the parsers, last.
ApiStatus CheckRequest(const ChatRequest& request);

// The variables that templates read reasoning from: "none" switches thinking off. `effort` as OpenAI's
// reasoning_effort.
ApiStatus SetReasoningEffort(const std::string& effort, const std::string& param, ChatRequest* request);

}  // namespace deepshock
