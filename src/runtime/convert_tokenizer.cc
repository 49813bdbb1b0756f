// SPDX-License-Identifier: Apache-2.0
#include "runtime/convert_tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "base/mapped_file.h"
#include "runtime/model_text.h"
#include "text/tokenizer.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTokenizerBytes = 256u << 20;

// tokenizer.ggml.token_type
enum GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// Texts on which published pre-tokenisers differ: digit runs, contractions in both cases, case changes,
// marks, scripts without spaces, punctuation before letters, runs of spaces and line ends.
constexpr const char* kProbes[] = {
    "Hello world, it's 12345678 o'clock! They'LL say I'm 3.14159 and 2,000,000.",
    "iPhone HTTPServer parseJSON fooBar_baz getURL2xml \xC3\x89t\xC3\xA9 na\xC3\xAFve stra\xC3\x9F"
    "e",
    "  leading  spaces\t\ttabs   \n\n\n  newlines \r\n and trailing   ",
    "\xE4\xB8\xAD\xE6\x96\x87\xE5\x88\x86\xE8\xAF\x8D"
    "2024\xE5\xB9\xB4\xE3\x80\x82\xE3\x81\xB2\xE3\x82\x89\xE3\x81\x8C\xE3\x81\xAA"
    "\xE3\x82\xAB\xE3\x82\xBF \xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4 "
    "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
    "def f(x):\n    return x**2 // 3  # !comment ...;)\n\tif(a&&b){c->d();}",
    "\xF0\x9F\x98\x80\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD e\xCC\x81 "
    "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\xE0\xA5\x80 "
    "\xD9\x85\xD8\xB1\xD8\xAD\xD8\xA8\xD8\xA7 \xC2\xBD\xC2\xB2 \xE2\x85\xA7 ab12cd345ef6789",
    "$100 #tag @user /path/to/file.txt <b>bold</b> \"quoted\" 'single' 1st 2nd 10x\n \n",
};

// Everything that goes into the file, owned.
struct Vocabulary {
  std::string model;  // "gpt2", "llama"
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::vector<float> scores;
};

bool Mentions(const Json& part, std::string_view type) {
  if (part.is_object() && part.contains("type") && part["type"] == type) return true;
  if (!part.is_structured()) return false;
  return std::any_of(part.begin(), part.end(), [&](const Json& inner) { return Mentions(inner, type); });
}

Result<Vocabulary> ReadVocabulary(const Json& json, int64_t vocab_size) {
  Vocabulary v;
  const Json model = json.value("model", Json::object());
  if (model.value("type", "") != "BPE")
    return Fail("model.type: expected BPE, found {}", model.value("type", "none"));
  const Json vocab = model.value("vocab", Json::object());
  const bool byte_level = Mentions(json.value("decoder", Json()), "ByteLevel") ||
                          Mentions(json.value("pre_tokenizer", Json()), "ByteLevel");
  v.model = byte_level ? "gpt2" : "llama";
  v.tokens.resize(static_cast<size_t>(vocab_size));
  v.types.assign(static_cast<size_t>(vocab_size), kUnused);
  const auto set = [&](const std::string& content, const Json& id, int32_t type) -> Status {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
      return Fail("token \"{}\": expected an id below the model's vocabulary size {}, found {}", content,
                  vocab_size, id.dump());
    }
    v.tokens[id.get<size_t>()] = content;
    v.types[id.get<size_t>()] = type;
    return {};
  };
  const std::string unknown = model.contains("unk_token") && model["unk_token"].is_string()
                                  ? model["unk_token"].get<std::string>()
                                  : "";
  const bool byte_fallback = model.value("byte_fallback", false);
  for (const auto& [content, id] : vocab.items()) {
    const bool is_byte =
        byte_fallback && content.size() == 6 && content.starts_with("<0x") && content.ends_with(">");
    DS_RETURN_IF_ERROR(set(content, id,
                           is_byte                                  ? kByte
                           : !unknown.empty() && content == unknown ? kUnknown
                                                                    : kNormal));
  }
  for (const Json& added : json.value("added_tokens", Json::array())) {
    const std::string content = added.value("content", "");
    const int32_t type = added.value("special", false) ? kControl : kUserDefined;
    DS_RETURN_IF_ERROR(
        set(content, added.value("id", Json()), content == unknown && !unknown.empty() ? kUnknown : type));
  }
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.types[id] == kUnused) v.tokens[id] = fmt::format("[PAD{}]", id);
  }
  for (const Json& merge : model.value("merges", Json::array())) {
    if (merge.is_string()) {
      v.merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      v.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      return Fail("model.merges: expected pairs, found {}", merge.dump());
    }
  }
  return v;
}

// SentencePiece orders merges by the score of the merged piece: the earlier the merge, the higher.
void SetScores(const Json& json, Vocabulary& v) {
  const Json& vocab = json["model"]["vocab"];
  v.scores.assign(v.tokens.size(), 0.0f);
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.types[id] == kNormal) v.scores[id] = -static_cast<float>(v.merges.size() + 1);
  }
  for (size_t rank = v.merges.size(); rank-- > 0;) {
    std::string merged = v.merges[rank];
    const size_t space = merged.find(' ', 1);
    if (space == std::string::npos) continue;
    merged.erase(space, 1);
    const auto found = vocab.find(merged);
    if (found != vocab.end()) v.scores[found->get<size_t>()] = -static_cast<float>(rank + 1);
  }
}

GgufVocabulary ViewOf(const Vocabulary& v, std::string_view pre) {
  GgufVocabulary view;
  view.model = v.model;
  view.pre = pre;
  view.tokens.assign(v.tokens.begin(), v.tokens.end());
  view.types.assign(v.types.begin(), v.types.end());
  view.merges.assign(v.merges.begin(), v.merges.end());
  view.scores = v.scores;
  return view;
}

bool AgreesOnProbes(const Tokenizer& a, const Tokenizer& b) {
  return std::all_of(std::begin(kProbes), std::end(kProbes),
                     [&](const char* probe) { return a.Encode(probe) == b.Encode(probe); });
}

// The space prefix is a property of "llama" vocabularies only.
struct Found {
  std::string pre;
  bool add_space_prefix = true;
};

Result<Found> FindPreTokenizer(const Vocabulary& v, const Tokenizer& original) {
  if (v.model == "llama") {
    for (const bool prefix : {true, false}) {
      GgufVocabulary view = ViewOf(v, "default");
      view.add_space_prefix = prefix;
      DS_ASSIGN(const auto candidate, TokenizerFromGguf(view, "converted"));
      if (AgreesOnProbes(*candidate, original)) return Found{"default", prefix};
    }
    return Fail(
        "expected a SentencePiece-style tokenizer that GGUF can express, found one that gives other ids");
  }
  for (const std::string_view pre : GgufPreTokenizers()) {
    DS_ASSIGN(const auto candidate, TokenizerFromGguf(ViewOf(v, pre), "converted"));
    if (AgreesOnProbes(*candidate, original)) return Found{std::string(pre), true};
  }
  return Fail(
      "pre_tokenizer: expected one that GGUF has a name for, found one that none of the known names "
      "reproduces");
}

void SetTemplates(const ModelText& text, GgufWriter& writer) {
  for (const auto& [name, source] : text.template_sources) {
    writer.SetString(name == "default" ? "tokenizer.chat_template" : "tokenizer.chat_template." + name,
                     source);
  }
}

void SetSampling(const ModelText& text, GgufWriter& writer) {
  if (!text.recommended_sampling) return;
  const SamplingOptions& s = *text.recommended_sampling;
  const SamplingOptions off;
  if (s.top_k != off.top_k) writer.SetU32("general.sampling.top_k", static_cast<uint32_t>(s.top_k));
  if (s.top_p != off.top_p) writer.SetF32("general.sampling.top_p", static_cast<float>(s.top_p));
  if (s.min_p != off.min_p) writer.SetF32("general.sampling.min_p", static_cast<float>(s.min_p));
  if (s.repetition_penalty != off.repetition_penalty) {
    writer.SetF32("general.sampling.penalty_repeat", static_cast<float>(s.repetition_penalty));
  }
  writer.SetF32("general.sampling.temp", static_cast<float>(s.temperature));
}

void SetSpecialTokens(const ModelText& text, const ModelSpec& spec, GgufWriter& writer) {
  const std::pair<const char*, const char*> keys[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                                      {"eos_token", "tokenizer.ggml.eos_token_id"},
                                                      {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                                      {"pad_token", "tokenizer.ggml.padding_token_id"}};
  bool has_bos = false, has_eos = false;
  for (const auto& [name, key] : keys) {
    for (const auto& [token, content] : text.special_tokens) {
      const std::optional<int32_t> id = token == name ? text.tokenizer->TokenId(content) : std::nullopt;
      if (!id) continue;
      writer.SetU32(key, static_cast<uint32_t>(*id));
      has_bos |= std::string_view(name) == "bos_token";
      has_eos |= std::string_view(name) == "eos_token";
    }
  }
  if (!has_bos && spec.bos_token >= 0)
    writer.SetU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(spec.bos_token));
  if (!has_eos && !spec.eos_tokens.empty())
    writer.SetU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(spec.eos_tokens[0]));
  // What a raw prompt starts with, whoever says so: tokenizer_config.json or the tokenizer's post-processor.
  const std::vector<int32_t> empty = text.EncodePrompt("");
  const bool adds_bos = !empty.empty() && text.bos_token && empty[0] == *text.bos_token;
  writer.SetBool("tokenizer.ggml.add_bos_token", adds_bos);
  writer.SetBool("tokenizer.ggml.add_eos_token", false);
}

}  // namespace

Status SetTokenizerFromFolder(const std::string& folder, const ModelSpec& spec, GgufWriter& writer) {
  const std::string path = folder + "/tokenizer.json";
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  DS_ASSIGN(const ModelText text, LoadModelText(folder));
  DS_ASSIGN(const Json json, ReadJsonFile(path, kMaxTokenizerBytes));
  try {
    DS_ASSIGN(Vocabulary v, ReadVocabulary(json, spec.vocab_size).WithContext(path));
    if (v.model == "llama") SetScores(json, v);
    DS_ASSIGN(const Found found, FindPreTokenizer(v, *text.tokenizer).WithContext(path));
    writer.SetString("tokenizer.ggml.model", v.model);
    writer.SetString("tokenizer.ggml.pre", found.pre);
    writer.SetStrings("tokenizer.ggml.tokens", v.tokens);
    writer.SetI32s("tokenizer.ggml.token_type", v.types);
    if (v.model == "llama") {
      writer.SetF32s("tokenizer.ggml.scores", v.scores);
      writer.SetBool("tokenizer.ggml.add_space_prefix", found.add_space_prefix);
    } else {
      writer.SetStrings("tokenizer.ggml.merges", v.merges);
    }
  } catch (const Json::exception& e) {  // a value of another kind than the format says
    return Fail("{}: {}", path, e.what());
  }
  SetSpecialTokens(text, spec, writer);
  SetTemplates(text, writer);
  SetSampling(text, writer);
  return {};
}

Status CopyTokenizer(const GgufFile& from, GgufWriter& writer) {
  for (const auto& [key, value] : from.metadata()) {
    if (key.starts_with("tokenizer.") || key.starts_with("general.sampling."))
      writer.SetValue(key, value, *from.TypeOf(key));
  }
  return {};
}

}  // namespace deepshock
