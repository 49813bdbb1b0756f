// SPDX-License-Identifier: Apache-2.0
// Finds the model that a user names. Reads folders only: no environment, no network; callers say where to
// look.
#pragma once

#include <string>

#include "base/result.h"

namespace deepshock {

struct ModelSearch {
  std::string models_folder;  // the user's own models: NAME, NAME.gguf
  std::string hub_folder;     // the Hugging Face cache: models--ORG--NAME/snapshots/<refs/main>
};

// `model` is, in this order: a path; a name in `models_folder`; ORG/NAME or ORG/NAME/FILE in `hub_folder`.
// Returns what Model::Load takes: a folder with config.json, or a .gguf file (a folder that holds no
// config.json and one GGUF model means that model). The error tells where it looked and the command that
// would fetch the model.
Result<std::string> FindModel(const ModelSearch& search, const std::string& model);

}  // namespace deepshock
