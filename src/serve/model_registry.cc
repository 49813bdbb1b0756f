// SPDX-License-Identifier: Apache-2.0
#include "serve/model_registry.h"

#include <ctime>
#include <utility>

namespace deepshock {

ServedModel::ServedModel(std::string model_name, std::string model_path, std::unique_ptr<Engine> engine,
                         SamplingOptions default_sampling)
    : name(std::move(model_name)),
      path(std::move(model_path)),
      created(std::time(nullptr)),
      sampling(std::move(default_sampling)),
      format(DetectChatFormat(engine->ChatTemplateSource())),
      host(std::move(engine)) {}

void ModelRegistry::Put(std::shared_ptr<ServedModel> model) {
  std::shared_ptr<ServedModel> old;  // dies after the lock: it may wait for its thread
  const std::lock_guard lock(mutex_);
  for (auto& known : models_) {
    if (known->name != model->name) continue;
    old = std::exchange(known, std::move(model));
    return;
  }
  models_.push_back(std::move(model));
}

ApiStatus ModelRegistry::Find(std::string_view name, std::shared_ptr<ServedModel>* model) const {
  const std::lock_guard lock(mutex_);
  std::string known;
  for (const auto& candidate : models_) {
    if (name.empty() || candidate->name == name) {
      *model = candidate;
      return {};
    }
    known += (known.empty() ? "" : ", ") + candidate->name;
  }
  ApiError error = InvalidField("model", "no model is named \"{}\"; known models: {}", name,
                                known.empty() ? "none" : known);
  error.status = 404;
  error.code = "model_not_found";
  return error;
}

std::vector<std::shared_ptr<ServedModel>> ModelRegistry::All() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

void ModelRegistry::Clear() {
  std::vector<std::shared_ptr<ServedModel>> models;
  {
    const std::lock_guard lock(mutex_);
    models.swap(models_);
  }
  for (const auto& model : models) model->host.Stop();
}

}  // namespace deepshock
