// SPDX-License-Identifier: Apache-2.0
// Decoders of a tokenizer: how the texts of tokens become text again. Sequence, ByteLevel, ByteFallback,
// Fuse, Replace, Strip and Metaspace of tokenizer.json; any other is refused by name. A DecoderSteps is
// immutable; each running DecodePipeline belongs to one thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"

namespace deepshock {

class DecoderSteps {
 public:
  enum class Kind {
    kByteLevel,     // the byte-level alphabet back to bytes; joins all tokens into one text
    kByteFallback,  // runs of <0x..> to the characters they spell, or U+FFFD each
    kFuse,          // joins all tokens into one text
    kReplace,
    kStrip,      // of every token
    kStripText,  // of the joined text, at its beginning only
    kMetaspace,
    kCollect,        // waits for the end: what follows needs the joined text whole
    kJoinWithSpaces  // what Hugging Face tokenizers does without a decoder
  };
  struct Step {
    Kind kind;
    TextPattern pattern{};       // kReplace
    std::string content{};       // kReplace: what to put; kStrip, kMetaspace: the character
    size_t start = 0, stop = 0;  // kStrip: how many to remove at most
    bool keeps_first = false;    // kMetaspace: the first token's spaces stay
  };

  DecoderSteps() = default;
  // null: tokens are joined with spaces.
  static Result<DecoderSteps> FromJson(const nlohmann::json& json);
  static DecoderSteps ByteLevel();
  // What converted SentencePiece models have: "▁" to space, byte fallback, one leading space off when asked.
  static DecoderSteps SentencePiece(bool strips_leading_space);

  // What one token stands for inside a text.
  std::string TokenBytes(std::string_view token) const;
  const std::vector<Step>& steps() const { return steps_; }

 private:
  Status Add(const nlohmann::json& json, int depth);
  void Append(Step step);

  std::vector<Step> steps_;
  bool joined_ = false;  // while building: the steps so far end in one joined text
};

// One decoding under way. Whatever Push has appended is final and whole characters; each call costs what its
// own token costs.
class DecodePipeline {
 public:
  explicit DecodePipeline(const DecoderSteps& steps);  // keeps a reference
  void Push(std::string_view token, std::string* out);
  void Finish(std::string* out);

 private:
  struct State {
    std::string pending;  // bytes of an unfinished run or character; kCollect: all so far
    size_t seen = 0;      // tokens; kStripText: characters removed
    bool done = false;    // kStripText: past the beginning
  };
  void Feed(size_t step, std::string_view token, std::string* out);
  void FlushByteRun(size_t step, std::string* out);

  const DecoderSteps& steps_;
  std::vector<State> states_;
  RegexScratch regex_;
};

}  // namespace deepshock
