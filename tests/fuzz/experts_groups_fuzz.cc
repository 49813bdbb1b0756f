// SPDX-License-Identifier: Apache-2.0
// Any bytes as a groups file: an error of one line, or groups that can be used and come back the same when
// saved.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "experts/groups.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  const auto file = GroupsFile::Parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!file.ok()) {
    DS_CHECK(file.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  for (const ExpertGroup& group : file->groups) {
    DS_CHECK(group.Select().Ids().size() <= RankExperts(group.profile).size(), "experts of the model");
    DS_CHECK(RankExperts(group.profile).size() ==
                 group.profile.layers.size() * static_cast<size_t>(file->model.num_experts),
             "every expert has a rank");
    DS_CHECK(file->Find(group.name).ok(), "found by its name");
  }
  const std::string text = file->ToJson();
  const auto again = GroupsFile::Parse(text, "again");
  DS_CHECK(again.ok(), again.message().c_str());
  DS_CHECK(again->ToJson() == text, "saved and loaded the same");
  return 0;
}
