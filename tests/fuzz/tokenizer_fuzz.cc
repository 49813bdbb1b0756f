// SPDX-License-Identifier: Apache-2.0
// The first byte chooses: a tokenizer.json from the rest, tried on a few texts; or a fixed tokenizer on the
// rest as text, where decoding must undo encoding.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "text/bpe.h"
#include "text/tokenizer.h"

namespace {

using deepshock::Tokenizer;

void Require(bool condition) {
  if (!condition) std::abort();
}

// Streaming gives what Decode gives, in whole characters.
void CheckDecoding(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  deepshock::StreamDecoder stream(tokenizer, false);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = stream.Push(id);
    Require(deepshock::FindInvalidUtf8(piece) == std::string::npos);
    text += piece;
    tokenizer.TokenBytes(id);
  }
  text += stream.Finish();
  Require(text == tokenizer.Decode(ids));
}

void TryJson(std::string_view json) {
  const auto tokenizer = deepshock::TokenizerFromJson(json, "fuzz");
  if (!tokenizer.ok()) return;
  for (const std::string_view text :
       {"", "a", " Hello, world's 1234 \n\n\t<s> ab", "\xe4\xb8\xad e\xcc\x81\xff\xe2\x96\x81"}) {
    CheckDecoding(**tokenizer, tokenizer.value()->Encode(text, {true, true}));
    tokenizer.value()->Encode(text, {false, false});
  }
  CheckDecoding(**tokenizer, {0, 1, 2, -1, 3, 255, 5, 1 << 30, 4});
}

deepshock::Result<std::unique_ptr<Tokenizer>> FixedTokenizer(const char* pre) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) {
    tokens.emplace_back();
    deepshock::AppendUtf8(deepshock::ByteToCodePoint(static_cast<uint8_t>(b)), &tokens.back());
  }
  for (const char* token : {"Ġt", "he", "Ġthe", "aa", "aaaa", "<|end|>"}) tokens.push_back(token);
  deepshock::GgufVocabulary v;
  v.model = "gpt2";
  v.pre = pre;
  v.tokens.assign(tokens.begin(), tokens.end());
  v.types.assign(tokens.size(), 1);
  v.types.back() = 3;
  v.merges = {"Ġ t", "h e", "Ġt he", "a a", "aa aa"};
  return deepshock::TokenizerFromGguf(v, "fixed");
}

void TryText(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  // Only Qwen's normalizer (NFC) may change the text; the tokenizers here have none.
  Require(tokenizer.Decode(ids) == deepshock::ReplaceInvalidUtf8(text));
  CheckDecoding(tokenizer, ids);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  static const auto deepseek = FixedTokenizer("deepseek-v3");
  static const auto kimi = FixedTokenizer("kimi-k2");
  static const auto qwen = FixedTokenizer("qwen2");
  switch (data[0]) {
    case 't':
      TryText(**deepseek, rest);
      break;
    case 'k':
      TryText(**kimi, rest);
      break;
    case 'q':
      CheckDecoding(**qwen, qwen.value()->Encode(rest));
      break;
    default:
      TryJson(rest);
  }
  return 0;
}
