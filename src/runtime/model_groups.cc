// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_groups.h"

#include <filesystem>

#include "model/fingerprint.h"
#include "runtime/token_model.h"

namespace deepshock {
namespace {

bool IsThere(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

std::string FindGroupsPath(const std::string& model_path) {
  const std::string beside = GroupsPathOf(model_path);
  constexpr std::string_view kRepacked = ".repacked.gguf";
  if (IsThere(beside) || !model_path.ends_with(kRepacked)) return beside;
  const std::string origin =
      GroupsPathOf(model_path.substr(0, model_path.size() - kRepacked.size()) + ".gguf");
  return IsThere(origin) ? origin : beside;
}

Result<std::shared_ptr<const GroupMasks>> LoadGroupMasks(const Model& model, const std::string& path,
                                                         bool required) {
  auto masks = std::make_shared<GroupMasks>(RoutingShapeOf(model.spec()));
  if (!required && (masks->shape().layers.empty() || !IsThere(path))) {
    return std::shared_ptr<const GroupMasks>(std::move(masks));
  }
  const auto load = [&]() -> Status {
    DS_ASSIGN(const GroupsFile file, LoadGroups(path, model.spec(), model.weights()));
    return AddGroups(file, masks.get()).WithContext(path);
  };
  const Status loaded = load();
  if (!loaded.ok() && required) return loaded;
  if (!loaded.ok()) {
    masks = std::make_shared<GroupMasks>(masks->shape());
    masks->SetUnavailable(loaded);
  }
  return std::shared_ptr<const GroupMasks>(std::move(masks));
}

}  // namespace deepshock
