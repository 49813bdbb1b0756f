// SPDX-License-Identifier: Apache-2.0
// /v1/embeddings: the mean of the last layer's normed hidden states over the text's tokens, as long as the
// model is wide (docs/server.md).
#include <fmt/format.h>
#include <openssl/evp.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/answer.h"
#include "serve/answer_json.h"
#include "serve/json_fields.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

constexpr size_t kMaxInputs = 2048;  // of one request; OpenAI's

struct EmbeddingOptions {
  bool base64 = false;
  int64_t dimensions = 0;  // 0: all
};

std::string Base64(const std::vector<float>& values) {
  const size_t bytes = values.size() * sizeof(float);
  std::string text((bytes + 2) / 3 * 4 + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(values.data()), static_cast<int>(bytes));
  text.resize(static_cast<size_t>(length));
  return text;
}

void Normalise(std::vector<float>* values) {
  double sum = 0;
  for (const float value : *values) sum += static_cast<double>(value) * value;
  if (sum <= 0) return;
  const auto scale = static_cast<float>(1 / std::sqrt(sum));
  for (float& value : *values) value *= scale;
}

class EmbeddingWriter final : public AnswerWriter {
 public:
  EmbeddingWriter(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model, EmbeddingOptions options,
                  size_t num_inputs)
      : call_(std::move(call)), model_(std::move(model)), options_(options), embeddings_(num_inputs) {}

  bool Token(size_t, const StreamedToken&) override { return true; }
  void Choice(size_t index, GenerationResult result) override {
    num_tokens_ += result.prompt_tokens;
    std::vector<float> values = std::move(result.embedding);
    if (options_.dimensions > 0) values.resize(static_cast<size_t>(options_.dimensions));
    Normalise(&values);
    std::string& json = embeddings_[index];
    if (options_.base64) {
      json = "\"" + Base64(values) + "\"";
      return;
    }
    json = "[";
    for (size_t i = 0; i < values.size(); ++i) json += fmt::format("{}{:.8g}", i > 0 ? ", " : "", values[i]);
    json += "]";
  }
  void Finish() override {
    std::string json = R"({"object": "list", "data": [)";
    for (size_t i = 0; i < embeddings_.size(); ++i) {
      json += fmt::format(R"({}{{"object": "embedding", "index": {}, "embedding": {}}})", i > 0 ? ", " : "",
                          i, embeddings_[i]);
    }
    json += R"(], "model": )";
    AppendJsonString(model_->name, &json);
    call_->SendJson(
        json + fmt::format(R"(, "usage": {{"prompt_tokens": {0}, "total_tokens": {0}}}}})", num_tokens_));
  }
  void Fail(const ApiError& error) override { call_->SendError(error); }

 private:
  std::shared_ptr<Call> call_;
  std::shared_ptr<ServedModel> model_;
  const EmbeddingOptions options_;
  std::vector<std::string> embeddings_;
  int64_t num_tokens_ = 0;
};

ApiStatus ReadTokens(const FieldJson& value, const std::string& param, CompletionPrompt* prompt) {
  for (size_t i = 0; i < value.size(); ++i) {
    int64_t token = 0;
    if (ApiStatus error = ReadInteger(value[i], fmt::format("{}[{}]", param, i), 0, INT32_MAX, &token))
      return error;
    prompt->tokens.push_back(static_cast<int32_t>(token));
  }
  return {};
}

// A string, a list of token ids, or a list of either.
ApiStatus ReadInput(const FieldJson& value, const std::string& param, std::vector<CompletionPrompt>* inputs) {
  if (value.is_string()) {
    inputs->push_back({value.get<std::string>(), {}});
    return {};
  }
  if (!value.is_array() || value.empty())
    return WrongType(param, "a string, a list of strings or token ids", value);
  if (value[0].is_number()) return ReadTokens(value, param, &inputs->emplace_back());
  if (value.size() > kMaxInputs) {
    return InvalidField(param, "expected at most {} inputs, found {}", kMaxInputs, value.size());
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", param, i);
    CompletionPrompt& input = inputs->emplace_back();
    if (value[i].is_array()) {
      if (ApiStatus error = ReadTokens(value[i], place, &input)) return error;
    } else if (ApiStatus error = ReadField(value[i], place, &input.text)) {
      return error;
    }
  }
  return {};
}

}  // namespace

void HandleEmbeddings(Server& server, std::shared_ptr<Call> call) {
  FieldJson json;
  ChatRequest request;
  EmbeddingOptions options;
  size_t format = 0;
  ApiStatus error = ParseBody(call->request().body, &json);
  if (!error) {
    error = ReadFields(
        json, "",
        {{"model", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &request.model); }},
         {"input",
          [&](const FieldJson& v, const std::string& p) { return ReadInput(v, p, &request.prompts); }},
         {"encoding_format",
          [&](const FieldJson& v, const std::string& p) {
            return ReadChoice(v, p, {"float", "base64"}, &format);
          }},
         {"dimensions",
          [&](const FieldJson& v, const std::string& p) {
            return ReadInteger(v, p, 1, 1 << 20, &options.dimensions);
          }},
         {"priority", [&](const FieldJson& v, const std::string& p) { return ReadPriority(v, p, &request); }},
         {"user", IgnoreField}});
  }
  if (!error && request.prompts.empty())
    error = InvalidField("input", "expected text or token ids, found none");
  std::shared_ptr<ServedModel> model;
  if (!error) error = server.models().Find(request.model, &model);
  if (!error && options.dimensions > model->engine().info().embedding_length) {
    error = InvalidField("dimensions", "expected at most {}, as many as the model has, found {}",
                         model->engine().info().embedding_length, options.dimensions);
  }
  if (error) return call->SendError(*error);
  options.base64 = format == 1;
  AnswerPlan plan;
  plan.embed = true;
  for (CompletionPrompt& input : request.prompts) {
    plan.prompts.push_back(input.text ? model->engine().EncodePrompt(*input.text) : std::move(input.tokens));
  }
  auto writer = std::make_shared<EmbeddingWriter>(call, model, options, plan.prompts.size());
  if (error = StartAnswer(call, model, request, std::move(plan), std::move(writer)); error)
    call->SendError(*error);
}

}  // namespace deepshock
