// SPDX-License-Identifier: Apache-2.0
// Chat templates: the Jinja2 that published checkpoints use, rendered as Hugging Face transformers does
// (trim_blocks, lstrip_blocks, loop controls, `tojson`, `raise_exception`, `strftime_now`).
// A compiled template is immutable; Render may be called from many threads.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

class ChatTemplate {
 public:
  // Limits: source size, nesting, and at rendering steps, recursion and output size; each error says which.
  static Result<std::unique_ptr<ChatTemplate>> Compile(std::string_view source, const std::string& name);
  ~ChatTemplate();

  // `variables` is an object: messages, tools, add_generation_prompt, bos_token, eos_token and whatever else the
  // template reads. The error carries the template's line, and the text of raise_exception.
  Result<std::string> Render(const nlohmann::json& variables) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepshock
