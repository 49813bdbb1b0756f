// SPDX-License-Identifier: Apache-2.0
// ModelRegistry: the models that the server answers with, by name. One can take another's place at any time:
// requests that run keep theirs, and the old one ends with the last of them. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api_error.h"
#include "serve/chat_format.h"
#include "serve/engine_host.h"

namespace deepshock {

struct ServedModel {
  ServedModel(std::string model_name, std::string model_path, std::unique_ptr<Engine> engine,
              SamplingOptions default_sampling);

  const std::string name;  // what requests call it
  const std::string path;
  const int64_t created;           // Unix time
  const SamplingOptions sampling;  // for requests that do not say
  const ChatFormat format;         // of its chat template
  EngineHost host;
  const Engine& engine() const { return host.engine(); }
};

class ModelRegistry {
 public:
  // In place of the one of the same name, if any. The first is the default.
  void Put(std::shared_ptr<ServedModel> model);
  // `name` empty: the default. 404 with the known names where there is none.
  ApiStatus Find(std::string_view name, std::shared_ptr<ServedModel>* model) const;
  std::vector<std::shared_ptr<ServedModel>> All() const;
  // Ends them all, with what they still run; when it returns their threads have ended.
  void Clear();

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<ServedModel>> models_;
};

}  // namespace deepshock
