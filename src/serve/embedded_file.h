// SPDX-License-Identifier: Apache-2.0
// Files that the build puts into the program (cmake/embed.cmake): the chat page and the OpenAPI document.
#pragma once

#include <span>
#include <string_view>

namespace deepshock {

struct EmbeddedFile {
  std::string_view name, text;
};

// src/serve/page/* and src/serve/openapi.json
std::span<const EmbeddedFile> ServeFiles();

}  // namespace deepshock
