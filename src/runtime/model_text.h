// SPDX-License-Identifier: Apache-2.0
// ModelText: everything about text that comes with a checkpoint: tokenizer, chat template, special tokens,
// where generation ends, recommended sampling. Read from a Hugging Face folder (tokenizer.json,
// tokenizer_config.json, special_tokens_map.json, chat_template.jinja, generation_config.json) or from the
// keys inside a GGUF. Immutable once loaded; may be used from many threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "deepshock/generation.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace deepshock {

struct ModelText {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
  std::unique_ptr<ChatTemplate> tool_template;          // for conversations with tools; null: chat_template
  Status template_status;                               // the error when there is no chat template
  std::map<std::string, std::string> template_sources;  // "default", "tool_use" -> Jinja
  std::vector<std::pair<std::string, std::string>>
      special_tokens;  // "bos_token", its text: templates read them
  std::vector<int32_t> eos_tokens;
  std::optional<int32_t> bos_token;
  std::optional<bool> add_bos;  // what tokenizer_config.json says; none: the tokenizer decides
  std::optional<SamplingOptions> recommended_sampling;

  std::vector<int32_t> EncodePrompt(std::string_view text) const;
  // As Engine::EncodeChat.
  Result<std::vector<int32_t>> EncodeChat(const nlohmann::ordered_json& messages,
                                          const nlohmann::ordered_json& tools,
                                          const nlohmann::ordered_json* variables = nullptr) const;
};

// `path` as Model::Load takes it.
Result<ModelText> LoadModelText(const std::string& path);

}  // namespace deepshock
