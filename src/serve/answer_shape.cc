// SPDX-License-Identifier: Apache-2.0
#include "serve/answer_shape.h"

#include <nlohmann/json.hpp>

#include "serve/json_fields.h"

namespace deepshock {

std::string DumpJson(const FieldJson& json) {
  return json.dump(-1, ' ', false, FieldJson::error_handler_t::replace);
}

std::string ServerSentEvent(const FieldJson& event) {
  return "event: " + event["type"].get<std::string>() + "\ndata: " + DumpJson(event) + "\n\n";
}

}  // namespace deepshock
