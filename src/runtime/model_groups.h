// SPDX-License-Identifier: Apache-2.0
// The named groups of a loaded model, from the file that keeps them.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "experts/group_masks.h"
#include "model/model.h"

namespace deepshock {

// Where the groups of a model are looked for: the file beside it, and for MODEL.repacked.gguf the one beside
// MODEL.gguf where there is none.
std::string FindGroupsPath(const std::string& model_path);

// Every group of the file at `path`. Most requests name no group: a file that is not there, is broken or belongs
// to another model is an error only when it is `required` (the user named it); else there are no groups, and
// GroupMasks::Find says why.
Result<std::shared_ptr<const GroupMasks>> LoadGroupMasks(const Model& model, const std::string& path,
                                                         bool required);

}  // namespace deepshock
