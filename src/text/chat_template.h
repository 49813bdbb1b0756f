// SPDX-License-Identifier: Apache-2.0
// Chat templates: the Jinja2 that published checkpoints use, rendered as Hugging Face transformers does
// (trim_blocks, lstrip_blocks, loop controls, `tojson`, `raise_exception`, `strftime_now`).
// A compiled template is immutable; Render may be called from many threads. Called by whoever turns messages
// into a prompt. Refuses templates that load other templates, and whatever passes the limits below: a
// template comes with a model file and is not trusted.
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

struct RenderOptions {
  std::function<std::tm()> now;          // what strftime_now sees; empty: the local time
  uint64_t max_steps = 50'000'000;       // a step is about a node evaluated or an element touched
  uint64_t max_text_bytes = 1ull << 30;  // text made on the way, all in all
  uint64_t max_output_bytes = 64ull << 20;
};

class ChatTemplate {
 public:
  // Limits on source size and nesting; each error says which, and the line.
  static Result<std::unique_ptr<ChatTemplate>> Compile(std::string_view source, const std::string& name);
  ~ChatTemplate();

  // `variables` is an object: messages, tools, add_generation_prompt, bos_token, eos_token and whatever else
  // the template reads. Its keys keep their order, since `tojson` writes them in that order and models are
  // trained on it. The error carries the template's line, and the text of raise_exception.
  Result<std::string> Render(const nlohmann::ordered_json& variables,
                             const RenderOptions& options = {}) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepshock
