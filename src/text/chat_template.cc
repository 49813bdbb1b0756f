// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <time.h>

#include <algorithm>

#include "text/jinja_engine.h"
#include "text/jinja_parser.h"

namespace deepshock {
namespace {

std::tm LocalTime() {
  const std::time_t seconds = std::time(nullptr);
  std::tm out = {};
  localtime_r(&seconds, &out);
  return out;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::Template program;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::Compile(std::string_view source,
                                                            const std::string& name) {
  Result<jinja::Template> program = jinja::ParseTemplate(source);
  if (!program.ok()) return program.status().WithContext(name);
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  impl->program = std::move(program).value();
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

Result<std::string> ChatTemplate::Render(const nlohmann::ordered_json& variables,
                                         const RenderOptions& options) const {
  const jinja::Limits limits = {options.max_steps, options.max_text_bytes, options.max_output_bytes};
  jinja::Engine engine(impl_->program, limits, options.now ? options.now : LocalTime);
  Result<std::string> text = engine.Render(variables);
  if (!text.ok()) return text.status().WithContext(impl_->name);
  return text;
}

}  // namespace deepshock
