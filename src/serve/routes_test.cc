// SPDX-License-Identifier: Apache-2.0
// The OpenAPI document and the routes say the same.
#include "serve/routes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "serve/embedded_file.h"

namespace deepshock {
namespace {

nlohmann::json Document() {
  for (const EmbeddedFile& file : ServeFiles()) {
    if (file.name == "openapi.json") return nlohmann::json::parse(file.text);
  }
  return {};
}

TEST(Routes, AllStandInTheDocumentAndNoOthers) {
  std::set<std::string> served, described, open, described_open;
  for (const Route& route : Routes()) {
    std::string path = route.path;
    if (path.ends_with("/*")) path = path.substr(0, path.size() - 1) + "{model}";
    served.insert(std::string(route.method) + " " + path);
    if (route.who == Route::Who::kAnybody) open.insert(path);
  }
  const nlohmann::json document = Document();
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string name = method;
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return static_cast<char>(std::toupper(c)); });
      described.insert(name + " " + path);
      if (operation.contains("security") && operation["security"].empty()) described_open.insert(path);
    }
  }
  EXPECT_EQ(described, served);
  EXPECT_EQ(described_open, open);
}

void CheckReferences(const nlohmann::json& json, const nlohmann::json& document) {
  if (json.is_object() && json.contains("$ref") && json["$ref"].is_string()) {
    const std::string reference = json["$ref"];
    ASSERT_TRUE(reference.starts_with("#/")) << reference;
    EXPECT_TRUE(document.contains(nlohmann::json::json_pointer(reference.substr(1)))) << reference;
  }
  for (const auto& member : json) {
    if (member.is_structured()) CheckReferences(member, document);
  }
}

TEST(Routes, TheDocumentsReferencesLeadSomewhere) {
  const nlohmann::json document = Document();
  EXPECT_EQ(document["openapi"], "3.1.0");
  CheckReferences(document, document);
}

TEST(Routes, ThePageIsPartOfTheProgram) {
  std::set<std::string> names;
  for (const EmbeddedFile& file : ServeFiles()) {
    names.insert(std::string(file.name));
    EXPECT_FALSE(file.text.empty());
    EXPECT_EQ(file.text.find("innerHTML"), std::string_view::npos) << "what a model writes must stay text";
    // Nothing of the page comes from elsewhere.
    if (file.name != "openapi.json") {
      EXPECT_EQ(file.text.find("src=\"http"), std::string_view::npos);
    }
  }
  EXPECT_EQ(names, (std::set<std::string>{"index.html", "page.css", "page.js", "openapi.json"}));
}

}  // namespace
}  // namespace deepshock
