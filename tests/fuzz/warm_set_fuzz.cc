// SPDX-License-Identifier: Apache-2.0
// Any bytes as a warm set: an error of one line, or a set that comes back the same when saved.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "experts/warm_up.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  const auto set = WarmSet::Parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!set.ok()) {
    DS_CHECK(set.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  const std::string text = set->ToJson();
  const auto again = WarmSet::Parse(text, "again");
  DS_CHECK(again.ok(), again.message().c_str());
  DS_CHECK(again->ToJson() == text && again->experts == set->experts, "saved and loaded the same");
  return 0;
}
