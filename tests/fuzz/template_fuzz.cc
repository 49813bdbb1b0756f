// SPDX-License-Identifier: Apache-2.0
// Templates from bytes: the source up to the first NUL byte, then variables as JSON, if they parse.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const auto compiled = deepshock::ChatTemplate::Compile(input.substr(0, end), "fuzz");
  if (!compiled.ok()) return 0;
  using Json = nlohmann::ordered_json;
  Json variables = Json::parse(end == std::string_view::npos ? "" : input.substr(end + 1), nullptr, false);
  if (!variables.is_object()) {
    variables = {
        {"messages",
         {{{"role", "user"}, {"content", "Grüße <x>"}}, {{"role", "assistant"}, {"content", nullptr}}}},
        {"tools", {{{"name", "f"}, {"n", 1.5}, {"b", true}}}},
        {"s", "text"},
        {"add_generation_prompt", true}};
  }
  deepshock::RenderOptions options;
  options.now = [] { return std::tm(); };
  options.max_steps = 20000;  // so that no input takes long
  options.max_text_bytes = 4 << 20;
  options.max_output_bytes = 1 << 20;
  (void)(*compiled)->Render(variables, options).ok();
  return 0;
}
