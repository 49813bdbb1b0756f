// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "text/bpe.h"

namespace deepshock {
namespace {

using Ids = std::vector<int32_t>;
using Texts = std::vector<std::string>;

// A tokenizer.json with the given vocabulary and merges; `patch` overrides top-level members ("model" is
// merged).
std::string MakeJson(const Texts& vocab, const Texts& merges, const std::string& patch) {
  Json json = {{"added_tokens", Json::array()},
               {"normalizer", nullptr},
               {"pre_tokenizer", nullptr},
               {"post_processor", nullptr},
               {"decoder", nullptr},
               {"model", {{"type", "BPE"}, {"vocab", Json::object()}, {"merges", merges}}}};
  for (size_t i = 0; i < vocab.size(); ++i) json["model"]["vocab"][vocab[i]] = i;
  json.merge_patch(Json::parse(patch));
  return json.dump();
}

// An error fails the test.
std::unique_ptr<Tokenizer> Make(const Texts& vocab, const Texts& merges, const std::string& patch) {
  auto tokenizer = TokenizerFromJson(MakeJson(vocab, merges, patch), "test");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.message();
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

Texts Encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  Texts tokens;
  for (const int32_t id : tokenizer.Encode(text, options)) tokens.push_back(tokenizer.TokenText(id));
  return tokens;
}

const Texts kLetters = {"<unk>", "a", "b", "c", " ", "▁", "1", "2", ".", "é", "ab", "▁a", "▁b", "A", "\n"};
const Texts kMerges = {"a b", "▁ a", "▁ b"};

// The words that a pre-tokenizer makes: the model knows every one of them whole, and nothing else.
Texts Words(const std::string& pre_tokenizer, const std::string& text) {
  Texts vocab;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    for (size_t size = 1; begin + size <= text.size(); ++size) {
      const std::string part = text.substr(begin, size);
      if (FindInvalidUtf8(part) == std::string::npos) vocab.push_back(part);
    }
  }
  for (const std::string& part : Texts(vocab)) {
    std::string spaced = part;
    for (size_t at = spaced.find(' '); at != std::string::npos; at = spaced.find(' '))
      spaced.replace(at, 1, "▁");
    vocab.push_back(spaced);
    vocab.push_back("▁" + spaced);
  }
  std::sort(vocab.begin(), vocab.end());
  vocab.erase(std::unique(vocab.begin(), vocab.end()), vocab.end());
  const auto tokenizer =
      Make(vocab, {}, R"({"model": {"ignore_merges": true}, "pre_tokenizer": )" + pre_tokenizer + "}");
  return tokenizer == nullptr ? Texts() : Encode(*tokenizer, text);
}

TEST(PreTokenizer, SplitKnowsEveryBehavior) {
  const auto split = [](const std::string& behavior, bool invert) {
    return Words(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")" + behavior +
                     R"(", "invert": )" + (invert ? "true}" : "false}"),
                 "the-final--end");
  };
  EXPECT_EQ(split("Removed", false), Texts({"the", "final", "end"}));
  EXPECT_EQ(split("Isolated", false), Texts({"the", "-", "final", "-", "-", "end"}));
  EXPECT_EQ(split("MergedWithPrevious", false), Texts({"the-", "final-", "-", "end"}));
  EXPECT_EQ(split("MergedWithNext", false), Texts({"the", "-final", "-", "-end"}));
  EXPECT_EQ(split("Contiguous", false), Texts({"the", "-", "final", "--", "end"}));
  EXPECT_EQ(split("Removed", true), Texts({"-", "-", "-"}));
}

TEST(PreTokenizer, OtherKinds) {
  EXPECT_EQ(Words(R"({"type": "Digits", "individual_digits": true})", "a12b"), Texts({"a", "1", "2", "b"}));
  EXPECT_EQ(Words(R"({"type": "Digits"})", "a12b"), Texts({"a", "12", "b"}));
  EXPECT_EQ(Words(R"({"type": "Punctuation"})", "a?!b"), Texts({"a", "?", "!", "b"}));
  EXPECT_EQ(Words(R"({"type": "Whitespace"})", "a b?! c"), Texts({"a", "b", "?!", "c"}));
  EXPECT_EQ(Words(R"({"type": "WhitespaceSplit"})", "a b?! c"), Texts({"a", "b?!", "c"}));
  EXPECT_EQ(Words(R"({"type": "Metaspace"})", "a b"), Texts({"▁a", "▁b"}));
  EXPECT_EQ(Words(R"({"type": "Metaspace", "split": false})", "a b"), Texts({"▁a▁b"}));
  EXPECT_EQ(Words(R"({"type": "Metaspace", "add_prefix_space": false})", "a b"), Texts({"a", "▁b"}));
  EXPECT_EQ(Words(R"({"type": "Metaspace", "prepend_scheme": "never"})", "a b"), Texts({"a", "▁b"}));
  EXPECT_EQ(
      Words(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Whitespace"}]})", "a1 b"),
      Texts({"a", "1", "b"}));
}

TEST(PreTokenizer, MetaspaceFirstMeansTheInputsBeginning) {
  const auto tokenizer = Make(kLetters, kMerges,
                              R"({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"},
               "added_tokens": [{"id": 20, "content": "<s>", "special": true, "normalized": false}]})");
  EXPECT_EQ(Encode(*tokenizer, "a<s>a"), Texts({"▁a", "<s>", "a"}));
  EXPECT_EQ(Encode(*tokenizer, "<s>a b"), Texts({"<s>", "a", "▁b"}));
}

TEST(Normalizer, EveryKind) {
  const auto normalized = [](const std::string& normalizer, const std::string& text) {
    Texts vocab;
    for (const char* c : {"a", "b", "A", " ", "▁", "é", "e", "\xcc\x81", "f", "i", "ﬁ", "x"})
      vocab.push_back(c);
    const auto tokenizer = Make(vocab, {}, R"({"normalizer": )" + normalizer + "}");
    std::string joined;
    for (const std::string& token : Encode(*tokenizer, text)) joined += token;
    return joined;
  };
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\xcc\x81"), "é");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "é"), "e\xcc\x81");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "ﬁe\xcc\x81"), "fié");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "ﬁé"), "fie\xcc\x81");
  EXPECT_EQ(normalized(R"({"type": "Lowercase"})", "Aa"), "aa");
  EXPECT_EQ(normalized(R"({"type": "Strip"})", " a b "), "a b");
  EXPECT_EQ(normalized(R"({"type": "Strip", "strip_left": false})", " a "), " a");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", "a"), "▁a");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", ""), "");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})", "a b "), "a▁b▁");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": "[ab]+"}, "content": "x"})", "ab ba"),
            "x x");
  EXPECT_EQ(
      normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]})", "é"),
      "e");
}

TEST(Model, UnknownCharactersAndByteFallback) {
  Texts vocab = kLetters;
  const auto fused = Make(vocab, {}, R"({"model": {"unk_token": "<unk>", "fuse_unk": true}})");
  EXPECT_EQ(Encode(*fused, "azzb"), Texts({"a", "<unk>", "b"}));
  const auto single = Make(vocab, {}, R"({"model": {"unk_token": "<unk>"}})");
  EXPECT_EQ(Encode(*single, "azzb"), Texts({"a", "<unk>", "<unk>", "b"}));
  EXPECT_EQ(Encode(*Make(vocab, {}, "{}"), "azzb"), Texts({"a", "b"}));
  for (int b = 0; b < 256; ++b) vocab.push_back(fmt::format("<0x{:02X}>", b));
  const auto bytes =
      Make(vocab, {}, R"({"model": {"byte_fallback": true}, "decoder": {"type": "ByteFallback"}})");
  EXPECT_EQ(Encode(*bytes, "aß"), Texts({"a", "<0xC3>", "<0x9F>"}));
  EXPECT_EQ(bytes->Decode(bytes->Encode("aß")), "aß");
  EXPECT_EQ(bytes->TokenBytes(*bytes->TokenId("<0xC3>")), "\xc3");
  // One bad byte spoils the run, as with Hugging Face.
  EXPECT_EQ(bytes->Decode(Ids{*bytes->TokenId("<0xC3>"), *bytes->TokenId("<0x41>"), 1}), "\uFFFD\uFFFDa");
}

TEST(AddedTokens, LongestLeftmostAndTheirFlags) {
  const auto make = [](const std::string& flags) {
    return Make(kLetters, kMerges,
                R"({"added_tokens": [{"id": 20, "content": "<x>", "special": true, "normalized": false)" +
                    flags + R"(}, {"id": 21, "content": "<x>y", "special": false, "normalized": false}]})");
  };
  EXPECT_EQ(Encode(*make(""), "a<x>b<x>y"), Texts({"a", "<x>", "b", "<x>y"}));
  EXPECT_EQ(Encode(*make(R"(, "lstrip": true)"), "a  <x> b"), Texts({"a", "<x>", " ", "b"}));
  EXPECT_EQ(Encode(*make(R"(, "rstrip": true)"), "a <x>  b"), Texts({"a", " ", "<x>", "b"}));
  EXPECT_EQ(Encode(*make(R"(, "single_word": true)"), "a<x> <x>"), Texts({"a", " ", "<x>"}));
  EncodeOptions plain;
  plain.parse_special_tokens = false;
  EXPECT_EQ(Encode(*make(""), "a<x><x>y", plain), Texts({"a", "<x>y"}));
  EXPECT_TRUE(make("")->IsSpecial(20));
  EXPECT_FALSE(make("")->IsSpecial(21));
  EXPECT_EQ(make("")->Decode(Ids{1, 20, 21}, true), "a <x>y");
}

TEST(AddedTokens, NormalizedOnesAreFoundInNormalizedText) {
  const auto tokenizer = Make(kLetters, kMerges,
                              R"({"normalizer": {"type": "Lowercase"}, "added_tokens": [
      {"id": 20, "content": "XY", "normalized": true}, {"id": 21, "content": "AB", "normalized": false}]})");
  EXPECT_EQ(Encode(*tokenizer, "xY AB ab"), Texts({"XY", " ", "AB", " ", "ab"}));
}

TEST(PostProcessor, TemplateAddsTokens) {
  const std::string patch = R"({"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
       {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
       "special_tokens": {"<s>": {"ids": [20]}, "</s>": {"ids": [21, 22]}}}]}})";
  const auto tokenizer = Make(kLetters, {}, patch);
  EXPECT_EQ(tokenizer->Encode("a"), Ids({1}));
  EXPECT_EQ(tokenizer->Encode("a", {true, true}), Ids({20, 1, 21, 22}));
}

TEST(Decoder, EveryKind) {
  const auto decode = [](const std::string& decoder, const Texts& tokens) {
    const auto tokenizer = Make(tokens, {}, R"({"decoder": )" + decoder + "}");
    Ids ids;
    for (const std::string& token : tokens) ids.push_back(*tokenizer->TokenId(token));
    return tokenizer->Decode(ids);
  };
  EXPECT_EQ(decode("null", {"a", "b"}), "a b");
  EXPECT_EQ(decode(R"({"type": "Fuse"})", {"a", "b"}), "ab");
  EXPECT_EQ(decode(R"({"type": "ByteLevel"})", {"Ġa", "Ã", "©", "｜", "Ã©"}), " aé｜é");
  EXPECT_EQ(decode(R"({"type": "Metaspace"})", {"▁a", "▁b"}), "a b");
  EXPECT_EQ(decode(R"({"type": "Metaspace", "prepend_scheme": "never"})", {"▁a", "▁b"}), " a b");
  EXPECT_EQ(decode(R"({"type": "Strip", "content": "x", "start": 1, "stop": 1})", {"xxaxx", "bx"}), "xaxb");
  EXPECT_EQ(
      decode(
          R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
          {"▁", "▁a", "<0xC3>", "<0xA9>", "▁b"}),
      " aé b");
  EXPECT_EQ(decode(R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "Replace", "pattern": {"String": "ab"}, "content": "c"}]})",
                   {"a", "b"}),
            "c");
}

TEST(FromJson, RefusesWhatItDoesNotKnowByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"normalizer": {"type": "Nmt"}})", "Nmt"},
      {R"({"pre_tokenizer": {"type": "UnicodeScripts"}})", "UnicodeScripts"},
      {R"x({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?~a)"}, "behavior": "Isolated"}})x",
       "(?~"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Odd"}})", "Odd"},
      {R"({"post_processor": {"type": "BertProcessing"}})", "BertProcessing"},
      {R"({"decoder": {"type": "CTC"}})", "CTC"},
      {R"({"model": {"type": "Unigram"}})", "Unigram"},
      {R"({"model": {"dropout": 0.1}})", "dropout"},
      {R"({"model": {"end_of_word_suffix": "</w>"}})", "end_of_word_suffix"},
      {R"({"model": {"unk_token": "?"}})", "unk_token"},
      {R"({"model": {"merges": ["a b c"]}})", "merge 0"},
      {R"({"model": {"merges": [["a"]]}})", "merge 0"},
      {R"({"model": {"merges": ["a zz"]}})", "zz"},
      {R"({"model": {"vocab": {"a": -1}}})", "range"},
      {R"({"model": {"vocab": {"a": 99999999999}}})", "range"},
      {R"({"model": {"vocab": {"a": "x"}}})", "expected an id"},
      {R"({"model": {"vocab": {"a": {}}}})", "expected an id"},
      {R"({"model": {"vocab": {"a": 2}}})", "twice"},
      {R"({"added_tokens": [{"id": 1}]})", "content"},
      {R"({"added_tokens": 3})", "added_tokens"},
  };
  for (const auto& [patch, named] : cases) {
    const auto tokenizer = TokenizerFromJson(MakeJson(kLetters, kMerges, patch), "model/tokenizer.json");
    ASSERT_FALSE(tokenizer.ok()) << patch;
    EXPECT_NE(tokenizer.message().find(named), std::string::npos) << tokenizer.message();
    EXPECT_EQ(tokenizer.message().rfind("model/tokenizer.json: ", 0), 0u) << tokenizer.message();
  }
  for (const char* text :
       {"", "{", "[]", "3", "{}", "{\"model\": 3}", "{\"a\": 1, \"a\": 2}", "{\"x\": \"\xff\"}"}) {
    EXPECT_FALSE(TokenizerFromJson(text, "x").ok()) << text;
  }
  EXPECT_FALSE(TokenizerFromJson(std::string(100000, '['), "x").ok());
}

// 256 bytes and some merges, in the byte-level alphabet.
Texts ByteLevelVocabulary() {
  Texts vocab;
  for (int b = 0; b < 256; ++b) {
    vocab.emplace_back();
    AppendUtf8(ByteToCodePoint(static_cast<uint8_t>(b)), &vocab.back());
  }
  for (const char* token : {"Ġt", "he", "Ġthe", "in", "Ã©", "ä¸", "ä¸Ń", "00", "000"}) vocab.push_back(token);
  return vocab;
}
const Texts kByteLevelMerges = {"Ġ t", "h e", "Ġt he", "i n", "Ã ©", "ä ¸", "ä¸ Ń", "0 0", "00 0"};

std::unique_ptr<Tokenizer> ByteLevelTokenizer() {
  return Make(
      ByteLevelVocabulary(), kByteLevelMerges,
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                  "decoder": {"type": "ByteLevel"},
                  "added_tokens": [{"id": 300, "content": "<|end|>", "special": true, "normalized": false}]})");
}

std::string RandomText(std::mt19937& random) {
  std::string text;
  for (size_t i = random() % 60; i > 0; --i) {
    switch (random() % 6) {
      case 0:
        text += " the";
        break;
      case 1:
        text += "\n  000";
        break;
      case 2:
        AppendUtf8(0x4e00 + random() % 500, &text);
        break;
      case 3:
        AppendUtf8(0x1f600 + random() % 50, &text);
        break;
      case 4:
        AppendUtf8(random() % 0xd800, &text);
        break;
      default:
        text += static_cast<char>('!' + random() % 90);
    }
  }
  return text;
}

TEST(ByteLevel, DecodeUndoesEncode) {
  const auto tokenizer = ByteLevelTokenizer();
  EXPECT_EQ(Encode(*tokenizer, " the<|end|>in"), Texts({"Ġthe", "<|end|>", "in"}));
  EXPECT_EQ(tokenizer->TokenBytes(*tokenizer->TokenId("ä¸")), "\xe4\xb8");
  EXPECT_EQ(tokenizer->vocab_size(), 301);
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const std::string text = RandomText(random);
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  }
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("a\xffz\xe4\xb8")), "a\uFFFDz\uFFFD");
}

TEST(ByteLevel, StepsAfterItSeeTheAlphabet) {
  const auto tokenizer = Make(ByteLevelVocabulary(), kByteLevelMerges,
                              R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false},
      {"type": "Split", "pattern": {"String": "Ġ"}, "behavior": "Isolated"}]}})");
  EXPECT_EQ(Encode(*tokenizer, "the"), Texts({"Ġ", "t", "he"}));
}

// Whatever the ids: the pieces are whole characters, and together what Decode gives.
TEST(StreamDecoder, PiecesAddUpToDecode) {
  Texts vocab = {"▁", "▁▁a", "é", "x", "\uFFFD"};
  for (int b = 0; b < 256; ++b) vocab.push_back(fmt::format("<0x{:02X}>", b));
  const auto fallback = Make(vocab, {}, R"({"model": {"byte_fallback": true}, "decoder": {"type": "Sequence",
      "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                   {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 2, "stop": 0}]}})");
  const auto metaspace = Make(vocab, {}, R"({"decoder": {"type": "Metaspace"}})");
  const auto whole = Make(vocab, {}, R"({"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "Strip", "content": "x", "start": 1, "stop": 2}]}})");
  const auto byte_level = ByteLevelTokenizer();
  std::mt19937 random(3);
  for (const Tokenizer* tokenizer : {fallback.get(), metaspace.get(), whole.get(), byte_level.get()}) {
    for (int round = 0; round < 400; ++round) {
      Ids ids;
      for (size_t i = random() % 30; i > 0; --i) {
        const int few = static_cast<int>(random() % 5);
        ids.push_back(random() % 2 ? few : static_cast<int32_t>(random() % 310) - 2);
      }
      const bool skip = random() % 2 == 0;
      StreamDecoder stream(*tokenizer, skip);
      std::string joined;
      for (const int32_t id : ids) {
        const std::string piece = stream.Push(id);
        EXPECT_EQ(FindInvalidUtf8(piece), std::string::npos);
        joined += piece;
      }
      joined += stream.Finish();
      EXPECT_EQ(joined, tokenizer->Decode(ids, skip));
    }
  }
}

TEST(StreamDecoder, GivesTextAsSoonAsItIsWhole) {
  const auto tokenizer = ByteLevelTokenizer();
  StreamDecoder stream(*tokenizer, true);
  EXPECT_EQ(stream.Push(*tokenizer->TokenId("ä¸")), "");
  EXPECT_EQ(stream.Push(*tokenizer->TokenId("Ń")), "中");
  EXPECT_EQ(stream.Push(300), "");  // special
  EXPECT_EQ(stream.Push(0xf0), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
}

GgufVocabulary ViewOf(const std::string& model, const std::string& pre, const Texts& tokens,
                      const Texts& merges) {
  GgufVocabulary v;
  v.model = model;
  v.pre = pre;
  v.tokens.assign(tokens.begin(), tokens.end());
  v.merges.assign(merges.begin(), merges.end());
  v.types.assign(tokens.size(), 1);
  return v;
}

TEST(FromGguf, GivesTheIdsOfTokenizerJson) {
  const auto json = ByteLevelTokenizer();
  Texts tokens = ByteLevelVocabulary();
  const size_t unused = tokens.size();
  while (tokens.size() < 300) tokens.push_back(fmt::format("[PAD{}]", tokens.size()));
  tokens.push_back("<|end|>");
  GgufVocabulary v = ViewOf("gpt2", "gpt-2", tokens, kByteLevelMerges);
  for (size_t i = unused; i < 300; ++i) v.types[i] = 5;
  v.types[300] = 3;
  v.bos = 300;
  v.add_bos = true;
  const auto gguf = TokenizerFromGguf(v, "test.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.message();
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    const std::string text = RandomText(random) + "<|end|>" + RandomText(random);
    const Ids ids = json->Encode(text);
    ASSERT_EQ(gguf.value()->Encode(text), ids) << text;
    EXPECT_EQ(gguf.value()->Decode(ids, true), json->Decode(ids, true));
  }
  EXPECT_EQ(gguf.value()->Encode("in", {true, true}).front(), 300);
  EXPECT_TRUE(gguf.value()->IsSpecial(300));
}

TEST(FromGguf, SentencePieceMergesByScore) {
  Texts tokens = {"<unk>", "<s>", "</s>"};
  for (int b = 0; b < 256; ++b) tokens.push_back(fmt::format("<0x{:02X}>", b));
  const size_t first = tokens.size();
  for (const char* t : {"▁a", "ab", "▁ab", "▁", "a", "b", "bc", "c"}) tokens.push_back(t);
  GgufVocabulary v = ViewOf("llama", "default", tokens, {});
  v.types[0] = 2;
  v.types[1] = v.types[2] = 3;
  for (size_t i = 3; i < first; ++i) v.types[i] = 6;
  v.scores.assign(tokens.size(), 0.0f);
  const float scores[] = {-2, -1, -3, -5, -6, -7, -0.5f, -8};
  std::copy(std::begin(scores), std::end(scores), v.scores.begin() + static_cast<std::ptrdiff_t>(first));
  v.unknown = 0;
  const auto tokenizer = TokenizerFromGguf(v, "x");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ(Encode(**tokenizer, "ab"), Texts({"▁ab"}));        // a+b first, then ▁
  EXPECT_EQ(Encode(**tokenizer, "abc"), Texts({"▁a", "bc"}));  // b+c has the best score
  EXPECT_EQ(Encode(**tokenizer, "é<s>b"), Texts({"▁", "<0xC3>", "<0xA9>", "<s>", "▁", "b"}));
  EXPECT_EQ((*tokenizer)->Decode((*tokenizer)->Encode(" abc é")), " abc é");
  v.add_space_prefix = false;
  EXPECT_EQ(Encode(*TokenizerFromGguf(v, "x").value(), "ab"), Texts({"ab"}));
}

TEST(FromGguf, KnowsItsPreTokenizersAndRefusesOthers) {
  const Texts tokens = ByteLevelVocabulary();
  for (const std::string_view pre : GgufPreTokenizers()) {
    const auto tokenizer = TokenizerFromGguf(ViewOf("gpt2", std::string(pre), tokens, kByteLevelMerges), "x");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
    const std::string text = "It's 12345 «Été»  HTTPServer\n\n 中文字 कि 42% ...";
    EXPECT_EQ(tokenizer.value()->Decode(tokenizer.value()->Encode(text)), text) << pre;
  }
  const auto refused = TokenizerFromGguf(ViewOf("gpt2", "no-such", tokens, {}), "m.gguf");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("no-such"), std::string::npos);
  EXPECT_NE(refused.message().find("deepseek-v3"), std::string::npos);
}

TEST(FromGguf, RefusesInconsistentVocabularies) {
  const Texts tokens = ByteLevelVocabulary();
  const GgufVocabulary good = ViewOf("gpt2", "gpt-2", tokens, kByteLevelMerges);
  const auto fails = [](const GgufVocabulary& v) { return !TokenizerFromGguf(v, "x").ok(); };
  EXPECT_FALSE(fails(good));
  GgufVocabulary v = good;
  v.model = "bert";
  EXPECT_TRUE(fails(v));
  v = good;
  v.types.pop_back();
  EXPECT_TRUE(fails(v));
  v = good;
  v.model = "llama";  // no scores
  EXPECT_TRUE(fails(v));
  v = good;
  v.bos = 100000;
  EXPECT_TRUE(fails(v));
  v = good;
  v.add_bos = true;  // which?
  EXPECT_TRUE(fails(v));
  v = good;
  v.merges[0] = "nospace";
  EXPECT_TRUE(fails(v));
  v = good;
  v.tokens[0] = "\xff";
  EXPECT_TRUE(fails(v));
  v = good;
  v.tokens.clear();
  v.types.clear();
  EXPECT_TRUE(fails(v));
}

// The model's own tokenizer against Hugging Face's ids; and the same vocabulary as a GGUF has it.
TEST(TinyMoe, GivesTheReferenceIds) {
  const std::string folder = std::string(DEEPSHOCK_SHARED_DATA) + "/models/tiny-moe";
  const auto json = ReadFile(folder + "/tokenizer.json", 64 << 20);
  const auto lines = ReadFile(folder + "/reference/tokenizer.jsonl", 64 << 20);
  if (!json.ok() || !lines.ok()) GTEST_SKIP() << "no reference data: " << json.message() << lines.message();
  const auto tokenizer = TokenizerFromJson(*json, "tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();

  const Json document = Json::parse(*json);
  Texts tokens(static_cast<size_t>(tokenizer.value()->vocab_size())), merges;
  for (const auto& [text, id] : document["model"]["vocab"].items()) tokens[id.get<size_t>()] = text;
  for (const Json& merge : document["model"]["merges"]) {
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  GgufVocabulary v = ViewOf("gpt2", "deepseek-v3", tokens, merges);
  for (const Json& added : document["added_tokens"])
    v.types[added["id"].get<size_t>()] = added["special"] ? 3 : 4;
  const auto gguf = TokenizerFromGguf(v, "gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.message();

  int count = 0;
  size_t at = 0;
  while (at < lines->size()) {
    const size_t end = std::min(lines->find('\n', at), lines->size());
    if (end > at) {
      const Json row = Json::parse(lines->substr(at, end - at));
      const std::string text = row["text"];
      const Ids ids = row["tiny"];
      EXPECT_EQ(tokenizer.value()->Encode(text), ids) << text;
      EXPECT_EQ(gguf.value()->Encode(text), ids) << text;
      EXPECT_EQ(tokenizer.value()->Decode(ids), row["tiny_decoded"].get<std::string>());
      ++count;
    }
    at = end + 1;
  }
  EXPECT_EQ(count, 329);
}

}  // namespace
}  // namespace deepshock
