// SPDX-License-Identifier: Apache-2.0
// /tokenize and /detokenize, in vLLM's form.
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/chat_messages.h"
#include "serve/chat_prompt.h"
#include "serve/json_fields.h"
#include "serve/routes.h"

namespace deepshock {

void HandleTokenize(Server& server, std::shared_ptr<Call> call) {
  FieldJson json;
  ChatRequest request;
  std::string prompt;
  bool has_prompt = false, special = true;
  ApiStatus error = ParseBody(call->request().body, &json);
  const auto model_field = [&](const FieldJson& v, const std::string& p) {
    return ReadField(v, p, &request.model);
  };
  if (!error) {
    error = ReadFields(
        json, "",
        {{"model", model_field},
         {"add_special_tokens",
          [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &special); }},
         {"messages", [&](const FieldJson& v, const std::string& p) { return ReadMessages(v, p, &request); }},
         {"prompt", [&](const FieldJson& v, const std::string& p) {
            has_prompt = true;
            return ReadField(v, p, &prompt);
          }}});
  }
  if (!error && has_prompt == (request.messages != nullptr)) {
    error = InvalidField("prompt", "expected either \"prompt\" or \"messages\", found {}",
                         has_prompt ? "both" : "neither");
  }
  std::shared_ptr<ServedModel> model;
  if (!error) error = server.models().Find(request.model, &model);
  std::vector<int32_t> tokens;
  if (!error && has_prompt) {
    tokens = special ? model->engine().EncodePrompt(prompt) : model->engine().EncodeText(prompt);
  }
  ChatPrompt chat;
  if (!error && !has_prompt) {
    error = EncodeConversation(*model, request, &chat);
    tokens = std::move(chat.tokens);
  }
  if (error) return call->SendError(*error);
  const FieldJson answer = {
      {"count", tokens.size()}, {"max_model_len", model->engine().info().context_length}, {"tokens", tokens}};
  call->SendJson(answer.dump());
}

void HandleDetokenize(Server& server, std::shared_ptr<Call> call) {
  FieldJson json;
  std::string name;
  std::vector<int32_t> tokens;
  bool given = false;
  ApiStatus error = ParseBody(call->request().body, &json);
  const auto read_tokens = [&](const FieldJson& value, const std::string& param) -> ApiStatus {
    if (!value.is_array()) return WrongType(param, "a list of token ids", value);
    given = true;
    for (const FieldJson& entry : value) {
      int64_t token = 0;
      const std::string place = param + "[" + std::to_string(tokens.size()) + "]";
      if (ApiStatus wrong = ReadInteger(entry, place, 0, INT32_MAX, &token)) return wrong;
      tokens.push_back(static_cast<int32_t>(token));
    }
    return {};
  };
  if (!error) {
    error = ReadFields(
        json, "",
        {{"model", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &name); }},
         {"tokens", read_tokens}});
  }
  if (!error && !given) error = InvalidField("tokens", "expected a list of token ids, found none");
  std::shared_ptr<ServedModel> model;
  if (!error) error = server.models().Find(name, &model);
  if (!error) {
    const int64_t vocabulary = model->engine().info().vocab_size;
    for (size_t i = 0; i < tokens.size() && !error; ++i) {
      if (tokens[i] >= vocabulary) {
        error = InvalidField("tokens", "expected token ids 0 to {}, found {}", vocabulary - 1, tokens[i]);
      }
    }
  }
  if (error) return call->SendError(*error);
  call->SendJson(FieldJson({{"prompt", model->engine().Decode(tokens)}})
                     .dump(-1, ' ', false, FieldJson::error_handler_t::replace));
}

}  // namespace deepshock
