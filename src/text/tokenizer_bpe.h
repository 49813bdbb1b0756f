// SPDX-License-Identifier: Apache-2.0
// The one Tokenizer there is: added tokens, normalizer, pre-tokenizer, BPE, decoder. tokenizer_json.cc and
// tokenizer_gguf.cc read its parts from files.
#pragma once

#include <memory>
#include <vector>

#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_decoder.h"

namespace deepshock {

struct TokenizerParts {
  Bpe bpe;  // finished
  std::vector<AddedToken> added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  DecoderSteps decoder;
  std::vector<int32_t> prefix, suffix;  // what add_special_tokens puts around the text
};

Result<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerParts parts);

}  // namespace deepshock
