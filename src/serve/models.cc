// SPDX-License-Identifier: Apache-2.0
// /v1/models, and loading one while the server runs.
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/json_fields.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

FieldJson ModelJson(const ServedModel& model) {
  const ModelInfo& info = model.engine().info();
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "deepshock"},
          {"architecture", info.architecture},
          {"context_length", info.context_length},
          {"max_model_len", info.context_length}};  // as vLLM names it
}

std::string Dump(const FieldJson& json) {
  return json.dump(-1, ' ', false, FieldJson::error_handler_t::replace);
}

}  // namespace

void HandleModels(Server& server, std::shared_ptr<Call> call) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string& path = call->request().path;
  if (path.size() > kPrefix.size()) {
    std::shared_ptr<ServedModel> model;
    if (const ApiStatus error = server.models().Find(path.substr(kPrefix.size()), &model)) {
      return call->SendError(*error);
    }
    return call->SendJson(Dump(ModelJson(*model)));
  }
  FieldJson list = {{"object", "list"}, {"data", FieldJson::array()}};
  for (const auto& model : server.models().All()) list["data"].push_back(ModelJson(*model));
  call->SendJson(Dump(list));
}

void HandleLoadModel(Server& server, std::shared_ptr<Call> call) {
  FieldJson json;
  std::string name, path;
  ApiStatus error = ParseBody(call->request().body, &json);
  if (!error) {
    error = ReadFields(
        json, "",
        {{"id", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &name); }},
         {"path", [&](const FieldJson& v, const std::string& p) { return ReadField(v, p, &path); }}});
  }
  if (!error && path.empty()) error = InvalidField("path", "expected a model's file or folder, found none");
  if (!error && !server.options().load_model) {
    error = ApiError{501, "this server loads no models while it runs", "", "not_supported"};
  }
  if (error) return call->SendError(*error);
  // Loading takes seconds: a thread of its own, which nothing waits for but the answer.
  server.RunAside([&server, call = std::move(call), name, path] {
    Result<std::shared_ptr<ServedModel>> model = server.options().load_model(name, path);
    if (!model.ok()) return call->SendError(InvalidFrom(model.status()));
    const std::string body = Dump(ModelJson(**model));
    server.models().Put(std::move(model).value());
    call->SendJson(body);
  });
}

}  // namespace deepshock
