// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_bpe.h"

#include <algorithm>

#include "base/utf8.h"

namespace deepshock {
namespace {

// Everything that one Encode call writes to.
struct EncodeScratch {
  PreTokenizeScratch pre_tokenize;
  BpeScratch bpe;
  std::string normalized;
};

class BpeTokenDecoder final : public TokenDecoder {
 public:
  BpeTokenDecoder(const Tokenizer& tokenizer, const DecoderSteps& steps, bool skip_special_tokens)
      : tokenizer_(tokenizer), pipeline_(steps), skip_special_tokens_(skip_special_tokens) {}

  void Push(int32_t id, std::string* out) override {
    if (skip_special_tokens_ && tokenizer_.IsSpecial(id)) return;
    const std::string text = tokenizer_.TokenText(id);
    if (!text.empty()) pipeline_.Push(text, out);
  }
  void Finish(std::string* out) override { pipeline_.Finish(out); }

 private:
  const Tokenizer& tokenizer_;
  DecodePipeline pipeline_;
  bool skip_special_tokens_;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {}

  Status AddTokens() {
    RegexScratch scratch;
    std::string buffer;
    // Special ones first: of two tokens that read the same, the first is the one found.
    for (const bool special : {true, false}) {
      for (const AddedToken& token : parts_.added_tokens) {
        if (token.special != special) continue;
        added_.Add(token.content, token.id);
        if (special) special_ids_.push_back(token.id);
        AddedTokenMatcher& matcher = token.normalized ? normalized_matcher_ : raw_matcher_;
        DS_RETURN_IF_ERROR(matcher.Add(token, token.normalized
                                                  ? parts_.normalizer.Apply(token.content, scratch, &buffer)
                                                  : token.content));
      }
    }
    std::sort(special_ids_.begin(), special_ids_.end());
    parts_.added_tokens = {};
    return {};
  }

  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::string replaced;
    if (FindInvalidUtf8(text) != std::string_view::npos) {
      replaced = ReplaceInvalidUtf8(text);
      text = replaced;
    }
    std::vector<int32_t> ids;
    if (options.add_special_tokens) ids = parts_.prefix;
    EncodeScratch scratch;
    for (const TextPart& part : raw_matcher_.Split(text, options.parse_special_tokens)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        EncodeText(text.substr(part.begin, part.end - part.begin), part.begin == 0, options, scratch, &ids);
      }
    }
    if (options.add_special_tokens) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
    return ids;
  }

  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens) const override {
    BpeTokenDecoder decoder(*this, parts_.decoder, skip_special_tokens);
    std::string text;
    for (const int32_t id : ids) decoder.Push(id, &text);
    decoder.Finish(&text);
    return text;
  }

  std::unique_ptr<TokenDecoder> NewDecoder(bool skip_special_tokens) const override {
    return std::make_unique<BpeTokenDecoder>(*this, parts_.decoder, skip_special_tokens);
  }

  std::string TokenBytes(int32_t id) const override {
    const std::string text = TokenText(id);
    return text.empty() ? text : parts_.decoder.TokenBytes(text);
  }
  int64_t vocab_size() const override { return std::max(parts_.bpe.vocabulary().size(), added_.size()); }

  std::optional<int32_t> TokenId(std::string_view content) const override {
    int32_t id = added_.Find(content);
    if (id < 0) id = parts_.bpe.vocabulary().Find(content);
    return id < 0 ? std::nullopt : std::optional<int32_t>(id);
  }

  bool IsSpecial(int32_t id) const override {
    return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
  }

  std::string TokenText(int32_t id) const override {
    return std::string(added_.Contains(id) ? added_.Text(id) : parts_.bpe.vocabulary().Text(id));
  }

 private:
  // Text without raw added tokens in it. `at_start`: the input begins with it.
  void EncodeText(std::string_view text, bool at_start, const EncodeOptions& options, EncodeScratch& scratch,
                  std::vector<int32_t>* ids) const {
    text = parts_.normalizer.Apply(text, scratch.pre_tokenize.regex, &scratch.normalized);
    if (normalized_matcher_.empty()) return EncodeWords(text, at_start, scratch, ids);
    for (const TextPart& part : normalized_matcher_.Split(text, options.parse_special_tokens)) {
      if (part.id >= 0) {
        ids->push_back(part.id);
      } else {
        EncodeWords(text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0, scratch,
                    ids);
      }
    }
  }

  void EncodeWords(std::string_view text, bool at_start, EncodeScratch& scratch,
                   std::vector<int32_t>* ids) const {
    PreTokenizeScratch& pre = scratch.pre_tokenize;
    parts_.pre_tokenizer.Split(text, at_start, pre);
    for (const TextRange& word : pre.words) {
      parts_.bpe.EncodeWord(pre.text.substr(word.begin, word.size()), scratch.bpe, ids);
    }
  }

  TokenizerParts parts_;
  Vocabulary added_;
  AddedTokenMatcher raw_matcher_, normalized_matcher_;
  std::vector<int32_t> special_ids_;  // sorted
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerParts parts) {
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(parts));
  DS_RETURN_IF_ERROR(tokenizer->AddTokens());
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace deepshock
