// SPDX-License-Identifier: Apache-2.0
// One conversation of `deepshock run`: keeps the messages and the model's state, streams answers to stdout.
// Main thread only.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"

namespace deepshock {

class Chat {
 public:
  // `raw`: no template; each prompt is continued by itself. `defaults` says how to generate.
  Chat(Engine& engine, bool raw, std::string system, GenerationRequest defaults);

  // Generates the answer to `text`. `stream`: to stdout as it comes, ending with a newline.
  // A failed request leaves the conversation as it was; an interrupted one keeps what was said so far.
  Result<GenerationResult> Answer(const std::string& text, bool stream);

  // Forgets all that was said; the system prompt stays.
  void Reset();
  void SetSystem(std::string system);
  // Each answer is JSON that this schema finds valid (docs/structured-output.md).
  void SetSchema(nlohmann::ordered_json schema) { schema_ = std::move(schema); }
  bool raw() const { return raw_; }
  // "64 tokens, 45.2 tokens/s, first token after 0.12 s, prompt 12 tokens"; empty before the first answer.
  std::string LastStatistics() const;
  std::string Totals() const;
  // What the last answer tells about its experts, where it was asked: several lines, or none.
  std::string LastExperts() const;

 private:
  Result<std::vector<int32_t>> Encode(const std::string& text) const;

  Engine& engine_;
  bool raw_;
  std::string system_;
  GenerationRequest defaults_;
  std::optional<nlohmann::ordered_json> schema_;
  std::unique_ptr<Session> session_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();  // without the system prompt
  GenerationResult last_;
  int64_t num_answers_ = 0;
  int64_t num_output_tokens_ = 0;
  double decode_ms_ = 0;
};

// Reads prompts from the terminal and answers until the user leaves. Returns the exit code.
Result<int> RunInteractive(Chat& chat, bool quiet);

}  // namespace deepshock
