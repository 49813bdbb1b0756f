// SPDX-License-Identifier: Apache-2.0
// ParseJson on any bytes: it must end, and what it accepts must survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Json> json = ParseJson(text);
  if (!json.ok()) {
    DS_CHECK(!json.message().empty() && json.message().find('\n') == std::string::npos,
             "an error is one line");
    DS_CHECK(FindInvalidUtf8(json.message()) == std::string_view::npos, "an error is valid UTF-8");
    return 0;
  }
  DS_CHECK(FindInvalidUtf8(text) == std::string_view::npos, "invalid UTF-8 was accepted");
  const Result<Json> again = ParseJson(json->dump());
  DS_CHECK(again.ok() && *again == *json, "written and read again it is another value");
  return 0;
}
