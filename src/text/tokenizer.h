// SPDX-License-Identifier: Apache-2.0
// Tokenizer: text to token ids and back. Built from tokenizer.json or from the vocabulary inside a GGUF.
// Immutable once built; Encode and Decode may be called from many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct EncodeOptions {
  bool add_special_tokens = false;   // what the post-processor adds (BOS, usually)
  bool parse_special_tokens = true;  // "<|im_start|>" in the text is that token; false: it is plain text
};

// One decoding under way: what StreamDecoder drives. Refers to its tokenizer. One thread.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // Appends the text that is final now: whole characters only.
  virtual void Push(int32_t id, std::string* out) = 0;
  // Appends the rest. Call once, last.
  virtual void Finish(std::string* out) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Invalid UTF-8 becomes U+FFFD, as Hugging Face tokenizers sees it through Python.
  virtual std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  // Bytes of the whole sequence, special tokens left out when asked, decoder steps (byte fallback, Metaspace)
  // applied; invalid UTF-8 becomes U+FFFD.
  virtual std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const = 0;

  // The same, token by token, each at its own cost.
  virtual std::unique_ptr<TokenDecoder> NewDecoder(bool skip_special_tokens) const = 0;

  // The raw bytes that one token stands for inside a text (no leading-space stripping); empty for an unknown
  // id.
  virtual std::string TokenBytes(int32_t id) const = 0;

  virtual int64_t vocab_size() const = 0;  // highest id + 1
  virtual std::optional<int32_t> TokenId(std::string_view content) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;
  // As the vocabulary spells it ("Ġthe"); empty for an unknown id.
  virtual std::string TokenText(int32_t id) const = 0;
};

// From the text of a tokenizer.json. `name` is for messages.
Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(std::string_view json, const std::string& name);

// The tokenizer.ggml.* keys of a GGUF, read by the caller (formats is this folder's neighbour, not below it).
struct GgufVocabulary {
  std::string model;                     // "gpt2" (byte-level BPE) or "llama" (SentencePiece-style BPE)
  std::string pre;                       // pre-tokeniser name: "deepseek-v3", "qwen2", "llama-bpe", ...
  std::vector<std::string_view> tokens;  // [V]
  std::vector<int64_t>
      types;  // [V] or empty (all normal); 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string_view> merges;  // "a b"
  std::vector<float> scores;             // [V] for "llama"
  int32_t bos = -1, eos = -1, unknown = -1, padding = -1;
  bool add_bos = false, add_eos = false, add_space_prefix = true;
};
// Copies what it keeps. The same ids as the model's tokenizer.json gives. An unknown `pre` is refused with
// the list of those known; empty means "default". Not in a GGUF, and so not here: lstrip, rstrip,
// single_word.
Result<std::unique_ptr<Tokenizer>> TokenizerFromGguf(const GgufVocabulary& vocabulary,
                                                     const std::string& name);

// The names of pre-tokenizers that TokenizerFromGguf knows, most specific names of published models first.
std::vector<std::string_view> GgufPreTokenizers();

// Turns a growing token sequence into text for streaming: Push returns the text that is final so far and
// never ends inside a UTF-8 character; Finish returns the rest (an unfinished character as U+FFFD). The
// concatenation equals Decode of the whole sequence. With byte-fallback vocabularies a run of byte tokens is
// held back until it ends, because one bad byte spoils the whole run (as in Hugging Face tokenizers). One
// thread.
class StreamDecoder {
 public:
  // The tokenizer must outlive it.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
      : decoder_(tokenizer.NewDecoder(skip_special_tokens)) {}

  std::string Push(int32_t id) {
    std::string text;
    decoder_->Push(id, &text);
    return text;
  }
  std::string Finish() {
    std::string text;
    decoder_->Finish(&text);
    return text;
  }

 private:
  std::unique_ptr<TokenDecoder> decoder_;
};

}  // namespace deepshock
