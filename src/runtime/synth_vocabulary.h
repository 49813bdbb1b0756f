// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a model with random weights: byte-level BPE in which every text has tokens (the 256
// bytes, and merges of letter pairs, so that a token is about two letters), then made-up words up to the
// model's vocabulary size, the special tokens where the spec has them, and a plain chat template.
#pragma once

#include "base/result.h"
#include "formats/gguf.h"
#include "model/spec.h"

namespace deepshock {

// Sets the tokenizer.* keys. Fails when the vocabulary has no room for the bytes.
Status SetSynthVocabulary(const ModelSpec& spec, GgufWriter& writer);

}  // namespace deepshock
