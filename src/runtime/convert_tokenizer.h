// SPDX-License-Identifier: Apache-2.0
// A tokenizer and chat template as the tokenizer.* keys of a GGUF file, and the recommended sampling as
// general.sampling.*.
#pragma once

#include <string>

#include "base/result.h"
#include "formats/gguf.h"
#include "model/spec.h"

namespace deepshock {

// From the tokenizer.json and the other text files of a Hugging Face folder (runtime/model_text.h). The name
// of the pre-tokeniser (tokenizer.ggml.pre) is found by trying: the file's tokenizer must give the same ids
// as the folder's on a set of probe texts, so a tokenizer that GGUF cannot express is refused instead of
// written wrong. A folder without tokenizer.json yields a file without a tokenizer.
Status SetTokenizerFromFolder(const std::string& folder, const ModelSpec& spec, GgufWriter& writer);

// Copies these keys.
Status CopyTokenizer(const GgufFile& from, GgufWriter& writer);

}  // namespace deepshock
