// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_locator.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "base/mapped_file.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

bool EndsWith(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// "x-00002-of-00003.gguf": a later part of a split model, which its first part stands for.
bool IsLaterPart(const std::string& name) {
  const size_t of = name.rfind("-of-");
  if (of == std::string::npos || of < 6 || !EndsWith(name, ".gguf")) return false;
  const std::string part = name.substr(of - 5, 5);
  return name[of - 6] == '-' &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         part != "00001";
}

// What Model::Load takes for a path that exists.
Result<std::string> LoadablePath(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  if (fs::exists(fs::path(path) / "config.json", error)) return path;
  std::vector<std::string> models;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    // An MTP or projector file goes with a model and is none itself.
    const bool companion =
        name.rfind("mmproj", 0) == 0 || EndsWith(name, "-mtp.gguf") || EndsWith(name, ".mtp.gguf");
    if (EndsWith(name, ".gguf") && !IsLaterPart(name) && !companion) models.push_back(it->path().string());
  }
  if (error) return Fail("{}: cannot list the folder: {}", path, error.message());
  if (models.empty())
    return Fail("{}: expected config.json or a .gguf file in this folder, found neither", path);
  if (models.size() > 1) {
    std::sort(models.begin(), models.end());
    return Fail("{}: expected one GGUF model in this folder, found {}; name one, for example {}", path,
                models.size(), models.front());
  }
  return models.front();
}

std::string StripWhitespace(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// ORG/NAME[/FILE] in the cache's layout; empty when the cache does not know the repository.
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
Result<std::optional<std::string>> FindInHub(const std::string& hub, const std::string& model) {
  const size_t slash = model.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == model.size())
    return std::optional<std::string>();
  const size_t second = model.find('/', slash + 1);
  const std::string organisation = model.substr(0, slash);
  const std::string name = model.substr(slash + 1, second == std::string::npos ? second : second - slash - 1);
  const std::string file = second == std::string::npos ? "" : model.substr(second + 1);
  const fs::path repository = fs::path(hub) / ("models--" + organisation + "--" + name);
  std::error_code error;
  if (!fs::is_directory(repository, error)) return std::optional<std::string>();

  const std::string command = "hf download " + organisation + "/" + name;
  Result<std::string> reference = ReadFile((repository / "refs/main").string(), 4096);
  if (!reference.ok()) {
    return Fail("{}: the download is incomplete (no refs/main); finish it with: {}", repository.string(),
                command);
  }
  const std::string revision = StripWhitespace(*reference);
  const bool plain = !revision.empty() && revision.find('/') == std::string::npos && revision != "..";
  const fs::path snapshot = repository / "snapshots" / (plain ? revision : "");
  if (!plain || !fs::is_directory(snapshot, error)) {
    return Fail("{}: the download is incomplete (no snapshot of refs/main); finish it with: {}",
                repository.string(), command);
  }
  const fs::path path = file.empty() ? snapshot : snapshot / file;
  if (!fs::exists(path, error)) {
    return Fail("{}: no such file in the downloaded snapshot; fetch it with: {} {}", path.string(), command,
                file);
  }
  return std::optional<std::string>(path.string());
}

// The repository to download: names without an organisation lack it.
std::string FetchCommand(const std::string& model) {
  const size_t slash = model.find('/');
  if (slash == std::string::npos) return "hf download ORGANISATION/" + model;
  const size_t second = model.find('/', slash + 1);
  if (second == std::string::npos) return "hf download " + model;
  return "hf download " + model.substr(0, second) + " " + model.substr(second + 1);
}

}  // namespace

Result<std::string> FindModel(const ModelSearch& search, const std::string& model) {
  if (model.empty()) return Fail("MODEL: expected a path or a name, found an empty string");
  if (model.find('\0') != std::string::npos)
    return Fail("MODEL: expected a path or a name, found a NUL character");
  std::error_code error;
  if (fs::exists(model, error)) return LoadablePath(model);
  const bool is_path = model[0] == '/' || model[0] == '.' || model[0] == '~' || model.back() == '/';
  if (is_path) return Fail("{}: no such file or folder", model);

  for (const char* suffix : {"", ".gguf"}) {
    const std::string candidate = (fs::path(search.models_folder) / (model + suffix)).string();
    if (fs::exists(candidate, error)) return LoadablePath(candidate);
  }
  DS_ASSIGN(const std::optional<std::string> hub_path, FindInHub(search.hub_folder, model));
  if (hub_path) return LoadablePath(*hub_path);
  return Fail(
      "model \"{}\": found neither as a path, nor in {}, nor in the Hugging Face cache {}; fetch it with: {}",
      model, search.models_folder, search.hub_folder, FetchCommand(model));
}

}  // namespace deepshock
