// SPDX-License-Identifier: Apache-2.0
// A tokenizer from the vocabulary inside a GGUF. The file names its pre-tokenizer; what the names stand for
// is the published tokenizer.json of the models that llama.cpp's converter gives them to (conversion/base.py,
// get_vocab_base_pre, and src/llama-vocab.cpp there).
#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/utf8.h"
#include "text/tokenizer_bpe.h"

namespace deepshock {
namespace {

constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// tokenization_kimi.py of moonshotai/Kimi-K2-Instruct.
constexpr const char* kKimiK2 = R"([\p{Han}]+|)"
                                R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
                                R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
                                R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
                                R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
                                R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|)"
    R"(\s+(?!\S)|\s+)";
constexpr const char* kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
constexpr const char* kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeekV3Cjk = "[一-龥\\u3040-ゟ゠-ヿ]+";
// The letters that DeepSeek LLM and DeepSeek-V2 list instead of saying \p{L}.
constexpr const char* kDeepSeekLlmLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-"
    "Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-"
    "Ῥῲ-"
    "ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-"
    "ﬆ"
    "ﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
constexpr const char* kDeepSeekLlmPunctuation = "\\s?[!-/:-~！-／：-～‘-‟　-。]+";
constexpr const char* kDeepSeekLlmCjk = "[一-龥ࠀ-一가-퟿]+";

struct PreTokenizerRow {
  const char* name;
  bool nfc = false;  // the published tokenizer.json normalizes to NFC (the GGUF does not say)
  bool ignore_merges = false;
  std::vector<std::string_view> patterns;  // Split, Isolated, one after the other
};

// Published models first; names that mean the same follow them.
const std::vector<PreTokenizerRow>& PreTokenizerRows() {
  static const std::vector<PreTokenizerRow> rows = [] {
    using Patterns = std::vector<std::string_view>;
    const Patterns gpt2 = {kGpt2};
    const Patterns llama3 = {kLlama3};
    const Patterns qwen2 = {kQwen2};
    const Patterns gpt4o = {kGpt4o};
    const Patterns bailing = {kBailing};
    const Patterns deepseek_v3 = {R"(\p{N}{1,3})", kDeepSeekV3Cjk, kDeepSeekV3};
    const Patterns digits_gpt2 = {R"(\p{N})", kGpt2};
    return std::vector<PreTokenizerRow>{
        {"deepseek-v3", false, false, deepseek_v3},
        {"deepseek-llm",
         false,
         false,
         {R"([\r\n])", kDeepSeekLlmLetters, kDeepSeekLlmPunctuation, R"(\s+$)", kDeepSeekLlmCjk, R"(\p{N})"}},
        {"deepseek-coder",
         false,
         false,
         {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekLlmCjk, R"(\p{N})"}},
        {"qwen2", true, false, qwen2},
        {"qwen35", true, false, {kQwen35}},
        {"llama-bpe", false, true, llama3},
        {"gpt-4o", false, true, gpt4o},
        {"olmo", true, false, gpt2},
        {"glm4", false, false, llama3},
        {"kimi-k2", false, false, {kKimiK2}},
        {"dbrx", false, false, llama3},
        {"gpt-2", false, false, gpt2},
        {"minimax-m2", false, false, gpt4o},
        {"bailingmoe", false, false, bailing},
        {"tekken", false, true, {kTekken}},
        {"seed-coder", false, false, {kSeedCoder}},
        {"exaone-moe", false, false, {kExaoneMoe}},
        {"grok-2", false, false, qwen2},
        {"stablelm2", false, false, qwen2},
        {"hunyuan", false, false, qwen2},
        {"starcoder", false, false, digits_gpt2},
        {"falcon", false, false, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, R"([0-9][0-9][0-9])"}},
        {"default", false, false, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
        // The same under other names.
        {"llama3", false, true, llama3},
        {"llama-v3", false, true, llama3},
        {"llama4", false, true, gpt4o},
        {"falcon3", false, true, llama3},
        {"falcon-h1", false, true, llama3},
        {"pixtral", false, true, llama3},
        {"lfm2", false, true, llama3},
        {"smaug-bpe", false, false, llama3},
        {"chatglm-bpe", false, false, llama3},
        {"deepseek-r1-qwen", false, false, qwen2},
        {"megrez", false, false, qwen2},
        {"solar-open", false, false, qwen2},
        {"kanana2", false, false, gpt4o},
        {"hunyuan-dense", false, false, deepseek_v3},
        {"joyai-llm", false, false, deepseek_v3},
        {"bailingmoe2", false, false, bailing},
        {"llada-moe", false, false, bailing},
        {"mpt", true, false, gpt2},
        {"phi-2", false, false, gpt2},
        {"exaone4", false, false, gpt2},
        {"smollm", false, false, digits_gpt2},
        {"refact", false, false, digits_gpt2},
        {"command-r", false, false, digits_gpt2},
        {"codeshell", false, false, digits_gpt2},
        {"exaone", false, false, digits_gpt2},
    };
  }();
  return rows;
}

// tokenizer.ggml.token_type
enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

int64_t TypeOf(const GgufVocabulary& v, size_t id) { return v.types.empty() ? kNormal : v.types[id]; }

Status CheckVocabulary(const GgufVocabulary& v) {
  if (v.tokens.empty() || !Vocabulary::IsValidId(static_cast<int64_t>(v.tokens.size()))) {
    return Fail("tokenizer.ggml.tokens: expected between 1 and 2^24 tokens, found {}", v.tokens.size());
  }
  const auto per_token = [&](const char* key, size_t size, bool needed) -> Status {
    if (size == v.tokens.size() || (size == 0 && !needed)) return {};
    return Fail("tokenizer.ggml.{}: expected {} values, one a token, found {}", key, v.tokens.size(), size);
  };
  DS_RETURN_IF_ERROR(per_token("token_type", v.types.size(), false));
  DS_RETURN_IF_ERROR(per_token("scores", v.scores.size(), v.model == "llama"));
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.tokens[id].size() > AddedTokenMatcher::kMaxContentBytes) {
      return Fail("token {}: expected at most {} bytes, found {}", id, AddedTokenMatcher::kMaxContentBytes,
                  v.tokens[id].size());
    }
    if (FindInvalidUtf8(v.tokens[id]) != std::string_view::npos) return Fail("token {}: expected UTF-8", id);
    if (v.model == "llama" && !std::isfinite(v.scores[id]))
      return Fail("token {}: its score is not a number", id);
  }
  const std::pair<const char*, int32_t> specials[] = {
      {"bos", v.bos}, {"eos", v.eos}, {"unknown", v.unknown}, {"padding", v.padding}};
  for (const auto& [name, id] : specials) {
    if (id < -1 || id >= static_cast<int64_t>(v.tokens.size())) {
      return Fail("{} token: expected an id below {}, found {}", name, v.tokens.size(), id);
    }
  }
  if (v.add_bos && v.bos < 0) return Fail("add_bos_token is set, but there is no bos_token_id");
  if (v.add_eos && v.eos < 0) return Fail("add_eos_token is set, but there is no eos_token_id");
  return {};
}

// Control, unknown and user-defined tokens are added tokens. BPE itself makes all but the first two.
void AddTokens(const GgufVocabulary& v, TokenizerParts* parts) {
  Vocabulary& vocabulary = parts->bpe.vocabulary();
  size_t text_bytes = 0;
  for (const std::string_view token : v.tokens) text_bytes += token.size();
  vocabulary.Reserve(v.tokens.size(), text_bytes);
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const int64_t type = TypeOf(v, i);
    const bool special = type == kControl || type == kUnknown;
    if (!special) vocabulary.Add(v.tokens[i], id);
    if (!special && type != kUserDefined) continue;
    AddedToken token;
    token.id = id;
    token.content = v.tokens[i];
    token.special = special;
    parts->added_tokens.push_back(std::move(token));
  }
}

Status AddByteLevel(const GgufVocabulary& v, TokenizerParts* parts) {
  const std::vector<PreTokenizerRow>& rows = PreTokenizerRows();
  const std::string_view name = v.pre.empty() ? std::string_view("default") : std::string_view(v.pre);
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const PreTokenizerRow& r) { return r.name == name; });
  if (row == rows.end()) {
    return Fail("tokenizer.ggml.pre: unknown pre-tokenizer \"{}\"; known are {}", v.pre,
                fmt::join(GgufPreTokenizers(), ", "));
  }
  if (row->nfc) parts->normalizer = Normalizer::Nfc();
  DS_ASSIGN(parts->pre_tokenizer, PreTokenizer::FromPatterns(row->patterns));
  parts->decoder = DecoderSteps::ByteLevel();
  parts->bpe.merges().Reserve(v.merges.size());
  for (size_t i = 0; i < v.merges.size(); ++i) {
    const std::string_view merge = v.merges[i];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos) {
      return Fail("tokenizer.ggml.merges: merge {}: expected two texts and one space, found \"{}\"", i,
                  merge);
    }
    DS_RETURN_IF_ERROR(
        parts->bpe.AddMerge(merge.substr(0, space), merge.substr(space + 1), static_cast<int32_t>(i)));
  }
  BpeOptions options;
  options.byte_level = true;
  options.ignore_merges = row->ignore_merges;
  parts->bpe.Finish(options);
  return {};
}

// Written as Hugging Face's converted SentencePiece models are: "▁" for spaces, one put in front of every
// text.
Status AddSentencePiece(const GgufVocabulary& v, TokenizerParts* parts) {
  parts->normalizer = Normalizer::SentencePiece(v.add_space_prefix);
  parts->decoder = DecoderSteps::SentencePiece(v.add_space_prefix);
  std::vector<bool> mergeable(v.tokens.size());
  BpeOptions options;
  options.unknown = v.unknown;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    const int64_t type = TypeOf(v, id);
    mergeable[id] = type == kNormal;
    options.byte_fallback |= type == kByte;
    if (type == kUnknown && options.unknown < 0) options.unknown = static_cast<int32_t>(id);
  }
  options.fuse_unknown = true;
  DS_RETURN_IF_ERROR(parts->bpe.AddMergesByScore(v.scores, mergeable));
  parts->bpe.Finish(options);
  return {};
}

Result<std::unique_ptr<Tokenizer>> Build(const GgufVocabulary& v) {
  DS_RETURN_IF_ERROR(CheckVocabulary(v));
  TokenizerParts parts;
  AddTokens(v, &parts);
  if (v.model == "gpt2") {
    DS_RETURN_IF_ERROR(AddByteLevel(v, &parts));
  } else if (v.model == "llama") {
    DS_RETURN_IF_ERROR(AddSentencePiece(v, &parts));
  } else {
    return Fail("tokenizer.ggml.model: expected \"gpt2\" or \"llama\", found \"{}\"", v.model);
  }
  if (v.add_bos) parts.prefix = {v.bos};
  if (v.add_eos) parts.suffix = {v.eos};
  return MakeTokenizer(std::move(parts));
}

}  // namespace

std::vector<std::string_view> GgufPreTokenizers() {
  std::vector<std::string_view> names;
  for (const PreTokenizerRow& row : PreTokenizerRows()) names.push_back(row.name);
  return names;
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromGguf(const GgufVocabulary& vocabulary,
                                                     const std::string& name) {
  return Build(vocabulary).WithContext(name);
}

}  // namespace deepshock
