// SPDX-License-Identifier: Apache-2.0
// Normalizers of a tokenizer: what happens to text before it is split. Sequence, NFC, NFD, NFKC, NFKD,
// Replace, Prepend, Strip, Lowercase and StripAccents of tokenizer.json; any other is refused by name.
// Immutable.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"

namespace deepshock {

class Normalizer {
 public:
  // Does nothing.
  Normalizer();
  ~Normalizer();
  Normalizer(Normalizer&&) noexcept;
  Normalizer& operator=(Normalizer&&) noexcept;

  // null: does nothing.
  static Result<Normalizer> FromJson(const nlohmann::json& json);
  static Normalizer Nfc();
  // "▁" for every space, and one in front when asked: what SentencePiece does to text.
  static Normalizer SentencePiece(bool prepends_space);

  // Returns the normalized text: `text` itself where nothing changes, otherwise a view of `buffer`.
  std::string_view Apply(std::string_view text, RegexScratch& scratch, std::string* buffer) const;

 private:
  struct Step;
  Status Add(const nlohmann::json& json, int depth);
  std::vector<Step> steps_;
};

}  // namespace deepshock
