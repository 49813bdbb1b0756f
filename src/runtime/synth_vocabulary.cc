// SPDX-License-Identifier: Apache-2.0
#include "runtime/synth_vocabulary.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace deepshock {
namespace {

enum GgufTokenType : int32_t { kNormal = 1, kControl = 3 };

constexpr const char* kChatTemplate =
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

// GPT-2's printable stand-ins for the bytes (its encoder.py, bytes_to_unicode): printable Latin-1 stands for
// itself, the others are U+0100 and up, in order.
std::vector<std::string> ByteTokens() {
  std::vector<std::string> tokens;
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    std::string text;
    AppendUtf8(printable ? b : next++, &text);
    tokens.push_back(std::move(text));
  }
  return tokens;
}

bool IsSpecial(const ModelSpec& spec, size_t id) {
  const auto token = static_cast<int32_t>(id);
  return token == spec.bos_token || std::ranges::find(spec.eos_tokens, token) != spec.eos_tokens.end();
}

struct Vocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
};

Vocabulary MakeVocabulary(const ModelSpec& spec) {
  std::vector<std::string> regular = ByteTokens();
  const std::string space = regular[' '];
  Vocabulary v;
  const auto merge = [&](const std::string& a, const std::string& b) {
    regular.push_back(a + b);
    v.merges.push_back(a + " " + b);
  };
  const auto size = static_cast<size_t>(spec.vocab_size);
  if (size >= 2048) {
    for (char a = 'a'; a <= 'z'; ++a) {
      for (char b = 'a'; b <= 'z'; ++b) merge({a}, {b});
    }
    for (char a = 'a'; a <= 'z'; ++a) merge(space, {a});
  }
  v.types.assign(size, kNormal);
  size_t used = 0;
  for (size_t id = 0; id < size; ++id) {
    if (IsSpecial(spec, id)) {
      v.tokens.push_back("<|special_" + std::to_string(id) + "|>");
      v.types[id] = kControl;
    } else {
      v.tokens.push_back(used < regular.size() ? regular[used++] : space + "w" + std::to_string(id));
    }
  }
  return v;
}

}  // namespace

Status SetSynthVocabulary(const ModelSpec& spec, GgufWriter& writer) {
  constexpr int64_t kSmallest = 512;
  if (spec.vocab_size < kSmallest) {
    return Fail("vocabulary: expected at least {} tokens, found {}", kSmallest, spec.vocab_size);
  }
  const Vocabulary v = MakeVocabulary(spec);
  writer.SetString("tokenizer.ggml.model", "gpt2");
  writer.SetString("tokenizer.ggml.pre", "gpt-2");
  writer.SetStrings("tokenizer.ggml.tokens", v.tokens);
  writer.SetI32s("tokenizer.ggml.token_type", v.types);
  writer.SetStrings("tokenizer.ggml.merges", v.merges);
  if (spec.bos_token >= 0) {
    writer.SetU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(spec.bos_token));
  }
  if (!spec.eos_tokens.empty()) {
    writer.SetU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(spec.eos_tokens[0]));
  }
  writer.SetBool("tokenizer.ggml.add_bos_token", spec.bos_token >= 0);
  writer.SetString("tokenizer.chat_template", kChatTemplate);
  return {};
}

}  // namespace deepshock
