// SPDX-License-Identifier: Apache-2.0
// Renders chat templates for the comparison with jinja2 (tests/golden/chat_templates.py).
// stdin: JSON lines {"template": text, "variables": object, "now": "2024-07-26T12:34:56"};
// stdout: for each {"text": ...} or {"error": ...}.
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "text/chat_template.h"

namespace {

using Json = nlohmann::ordered_json;

std::tm ParseTime(const std::string& text) {
  std::tm out = {};
  std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &out.tm_year, &out.tm_mon, &out.tm_mday, &out.tm_hour,
              &out.tm_min, &out.tm_sec);
  out.tm_year -= 1900;
  out.tm_mon -= 1;
  out.tm_isdst = -1;
  std::mktime(&out);  // fills in the day of the week and of the year
  return out;
}

deepshock::Result<std::string> Render(const Json& request) {
  DS_ASSIGN(const auto compiled,
            deepshock::ChatTemplate::Compile(request.at("template").get<std::string>(), "template"));
  deepshock::RenderOptions options;
  const std::tm now = ParseTime(request.value("now", "2024-07-26T12:34:56"));
  options.now = [&] { return now; };
  return compiled->Render(request.at("variables"), options);
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      const auto text = Render(Json::parse(line));
      answer[text.ok() ? "text" : "error"] = text.ok() ? *text : text.message();
    } catch (const Json::exception& e) {
      std::cerr << "render_template: " << e.what() << "\n";
      return 1;
    }
    std::cout << answer.dump() << "\n";
  }
  return 0;
}
