// SPDX-License-Identifier: Apache-2.0
// Token sequences to measure a model on, from a file that the user names: JSON Lines (data/text_record.h),
// read through the model's tokenizer and chat template, or token ids as they are (little-endian int32).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/model_text.h"

namespace deepshock {

struct TextSource {
  std::string path;
  std::string field;  // of each JSON record; empty: the first known one

  bool is_tokens() const { return path.ends_with(".i32"); }
};

// FILE or FILE:FIELD. A file whose name holds a colon is found by its whole name.
TextSource ParseTextSource(const std::string& argument);

// A run of tokens that begins with an empty state.
struct TokenSequence {
  std::vector<int32_t> tokens;
  int64_t record = 0;  // which record of the file it is from, counted from 0
};

// Little-endian int32 ids, nothing else in the file.
Result<std::vector<int32_t>> ReadTokenFile(const std::string& path);

// Records are cut into sequences of at most `length` tokens, without any padding; empty records are passed
// over. A file of tokens is one record. Stops once there are max_tokens (0: no limit); the last sequence is
// cut to fit. `text` may be null for a file of tokens. A bad line is an error that names it; so is a file
// without a token.
Result<std::vector<TokenSequence>> ReadSequences(const TextSource& source, const ModelText* text,
                                                 int64_t length, int64_t max_tokens);

int64_t NumTokens(const std::vector<TokenSequence>& sequences);

}  // namespace deepshock
