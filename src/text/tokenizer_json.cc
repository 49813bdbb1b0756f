// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json. Vocabulary and merges, nearly all of its bytes, go straight from the parser's events
// into tables; the rest becomes a small DOM.
#include <map>
#include <set>

#include "base/json.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_fields.h"

namespace deepshock {
namespace {

// "merges", kept until the vocabulary is complete.
struct MergeTexts {
  struct Span {
    size_t offset;
    size_t left, right;  // bytes; the right text follows the left one
  };
  std::string texts;
  std::vector<Span> spans;
};

// nlohmann's SAX interface. `document` is the file without model.vocab (where it is an object) and
// model.merges.
class TokenizerReader final : public nlohmann::json_sax<Json> {
 public:
  Json document;
  MergeTexts merges;
  bool has_vocab = false;
  std::string problem;

  explicit TokenizerReader(Vocabulary* vocabulary) : vocabulary_(vocabulary) {}

  bool null() override { return Value(Json()); }
  bool boolean(bool value) override { return Value(Json(value)); }
  bool number_integer(number_integer_t value) override {
    return where_ == Where::kVocab ? Token(-1) : Value(Json(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (where_ == Where::kVocab) return Token(value > INT32_MAX ? -1 : static_cast<int64_t>(value));
    return Value(Json(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Value(Json(value)); }
  bool binary(binary_t&) override { return Fails("unexpected binary value"); }

  bool string(string_t& value) override {
    switch (where_) {
      case Where::kDocument:
        return Value(Json(std::move(value)));
      case Where::kVocab:
        return Fails(fmt::format("model.vocab: expected an id for \"{}\", found a string", key_));
      case Where::kMerges:
        return MergeLine(value);
      case Where::kMergePair:
        return MergeHalf(value);
    }
    return false;
  }

  bool start_object(std::size_t) override {
    if (where_ != Where::kDocument) return Unexpected("an object");
    if (AtModelMember("vocab")) {
      where_ = Where::kVocab;
      if (has_vocab) return Fails("model.vocab occurs twice");
      has_vocab = true;
      return true;
    }
    return Open(Json::object());
  }

  bool key(string_t& value) override {
    if (where_ == Where::kVocab) {
      key_ = value;
      return true;
    }
    if (open_.back()->contains(value))
      return Fails(fmt::format("key \"{}\" occurs twice in one object", value));
    keys_.back() = value;
    return true;
  }

  bool end_object() override {
    if (where_ == Where::kVocab) {
      where_ = Where::kDocument;
      return true;
    }
    return Close();
  }

  bool start_array(std::size_t) override {
    if (where_ == Where::kMerges) {
      where_ = Where::kMergePair;
      halves_ = 0;
      merges.spans.push_back({merges.texts.size(), 0, 0});
      return true;
    }
    if (where_ != Where::kDocument) return Unexpected("an array");
    if (AtModelMember("merges")) {
      where_ = Where::kMerges;
      return merges.spans.empty() || Fails("model.merges occurs twice");
    }
    return Open(Json::array());
  }

  bool end_array() override {
    if (where_ == Where::kMergePair) {
      where_ = Where::kMerges;
      return halves_ == 2 || Fails(fmt::format("model.merges: merge {} has {} parts, expected 2",
                                               merges.spans.size() - 1, halves_));
    }
    if (where_ == Where::kMerges) {
      where_ = Where::kDocument;
      return true;
    }
    return Close();
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    const std::string what = e.what();
    const size_t tag_end = what.find("] ");  // "[json.exception.parse_error.101] ..."
    return Fails(fmt::format("invalid JSON at byte {}: {}", position,
                             tag_end == std::string::npos ? what : what.substr(tag_end + 2)));
  }

 private:
  enum class Where { kDocument, kVocab, kMerges, kMergePair };

  bool Fails(std::string message) {
    if (problem.empty()) problem = std::move(message);
    return false;
  }
  bool Unexpected(const char* what) {
    return Fails(where_ == Where::kVocab
                     ? fmt::format("model.vocab: expected an id for \"{}\", found {}", key_, what)
                     : fmt::format("model.merges: merge {}: unexpected {}", merges.spans.size(), what));
  }
  bool AtModelMember(const char* name) const {
    return open_.size() == 2 && keys_[0] == "model" && keys_[1] == name && open_[1]->is_object();
  }

  bool Token(int64_t id) {
    if (!Vocabulary::IsValidId(id))
      return Fails(fmt::format("model.vocab: \"{}\" has an id out of range", key_));
    if (!vocabulary_->Add(key_, static_cast<int32_t>(id))) {
      return Fails(fmt::format("model.vocab: \"{}\" or its id {} occurs twice", key_, id));
    }
    return true;
  }

  bool MergeLine(const std::string& line) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      return Fails(fmt::format("model.merges: merge {}: expected two texts and one space, found \"{}\"",
                               merges.spans.size(), line));
    }
    merges.spans.push_back({merges.texts.size(), space, line.size() - space - 1});
    merges.texts.append(line, 0, space);
    merges.texts.append(line, space + 1);
    return true;
  }
  bool MergeHalf(const std::string& text) {
    if (halves_ < 2) (halves_ == 0 ? merges.spans.back().left : merges.spans.back().right) = text.size();
    ++halves_;
    merges.texts += text;
    return true;
  }

  // Puts a value where the document is open.
  Json* Place(Json value) {
    if (open_.empty()) {
      document = std::move(value);
      return &document;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[keys_.back()] = std::move(value));
  }
  bool Value(Json value) {
    if (where_ != Where::kDocument) return Unexpected("a value that does not belong there");
    Place(std::move(value));
    return true;
  }
  bool Open(Json container) {
    if (open_.size() >= static_cast<size_t>(kMaxJsonDepth)) return Fails("JSON nested too deep");
    open_.push_back(Place(std::move(container)));
    keys_.emplace_back();
    return true;
  }
  bool Close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  Vocabulary* vocabulary_;
  Where where_ = Where::kDocument;
  std::vector<Json*> open_;        // a parent is not touched while a child is open, so these stay valid
  std::vector<std::string> keys_;  // the key being read in each open object
  std::string key_;                // in model.vocab
  int halves_ = 0;
};

Status ReadModel(const Json& model, const TokenizerReader& reader, bool byte_level, Bpe* bpe) {
  const std::string where = "model";
  if (!model.is_object()) return Fail("expected an object \"model\"");
  if (!IsAbsent(model, "type") && model["type"] != "BPE") {
    return Fail("model {} is not supported: expected \"BPE\"", model["type"].dump());
  }
  if (!reader.has_vocab) return Fail("model: expected an object \"vocab\"");
  if (!IsAbsent(model, "dropout") && model["dropout"] != 0.0)
    return Fail("model: \"dropout\" is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!IsAbsent(model, key) && model[key] != "")
      return Fail("model: \"{}\" {} is not supported", key, model[key].dump());
  }
  BpeOptions options;
  options.byte_level = byte_level;
  DS_ASSIGN(options.byte_fallback, ReadBool(model, "byte_fallback", false, where));
  DS_ASSIGN(options.fuse_unknown, ReadBool(model, "fuse_unk", false, where));
  DS_ASSIGN(options.ignore_merges, ReadBool(model, "ignore_merges", false, where));
  if (!IsAbsent(model, "unk_token")) {
    DS_ASSIGN(const std::string unknown, ReadString(model, "unk_token", where));
    options.unknown = bpe->vocabulary().Find(unknown);
    if (options.unknown < 0) return Fail("model: \"unk_token\" \"{}\" is not in the vocabulary", unknown);
  }
  const MergeTexts& merges = reader.merges;
  bpe->merges().Reserve(merges.spans.size());
  const std::string_view texts = merges.texts;
  for (size_t i = 0; i < merges.spans.size(); ++i) {
    const MergeTexts::Span& span = merges.spans[i];
    DS_RETURN_IF_ERROR(bpe->AddMerge(texts.substr(span.offset, span.left),
                                     texts.substr(span.offset + span.left, span.right),
                                     static_cast<int32_t>(i)));
  }
  bpe->Finish(options);
  return {};
}

Result<std::vector<AddedToken>> ReadAddedTokens(const Json& document, const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (IsAbsent(document, "added_tokens")) return tokens;
  const Json& list = document["added_tokens"];
  if (!list.is_array()) return Fail("expected an array \"added_tokens\"");
  for (const Json& entry : list) {
    const std::string where = fmt::format("added_tokens[{}]", tokens.size());
    AddedToken token;
    DS_ASSIGN(token.content, ReadString(entry, "content", where));
    DS_ASSIGN(const int64_t id, ReadInteger(entry, "id", 0, INT32_MAX, where));
    if (!Vocabulary::IsValidId(id)) return Fail("{}: id {} is out of range", where, id);
    // Where the vocabulary has the text under another id, that one counts (Hugging Face tokenizers warns).
    const int32_t known = vocabulary.Find(token.content);
    token.id = known >= 0 ? known : static_cast<int32_t>(id);
    DS_ASSIGN(token.special, ReadBool(entry, "special", false, where));
    DS_ASSIGN(token.normalized, ReadBool(entry, "normalized", !token.special, where));
    DS_ASSIGN(token.left_strip, ReadBool(entry, "lstrip", false, where));
    DS_ASSIGN(token.right_strip, ReadBool(entry, "rstrip", false, where));
    DS_ASSIGN(token.single_word, ReadBool(entry, "single_word", false, where));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// {"SpecialToken": {"id": "<s>"}} and {"Sequence": {"id": "A"}} of TemplateProcessing's "single".
Status ReadTemplate(const Json& json, TokenizerParts* parts) {
  const std::string where = "post_processor TemplateProcessing";
  if (IsAbsent(json, "single") || !json["single"].is_array())
    return Fail("{}: expected an array \"single\"", where);
  std::vector<int32_t> prefix, suffix;
  bool past_text = false;
  for (const Json& piece : json["single"]) {
    if (!IsAbsent(piece, "Sequence")) {
      if (past_text) return Fail("{}: expected the sequence once", where);
      past_text = true;
      continue;
    }
    if (IsAbsent(piece, "SpecialToken")) return Fail("{}: expected SpecialToken or Sequence", where);
    DS_ASSIGN(const std::string id, ReadString(piece["SpecialToken"], "id", where));
    const bool known = !IsAbsent(json, "special_tokens") && !IsAbsent(json["special_tokens"], id.c_str()) &&
                       !IsAbsent(json["special_tokens"][id], "ids");
    const Json ids = known ? json["special_tokens"][id]["ids"] : Json();
    if (!ids.is_array()) return Fail("{}: no ids for the special token \"{}\"", where, id);
    for (const Json& value : ids) {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX ||
          !Vocabulary::IsValidId(value.get<int64_t>())) {
        return Fail("{}: special token \"{}\": expected token ids, found {}", where, id, value.dump());
      }
      (past_text ? suffix : prefix).push_back(value.get<int32_t>());
    }
  }
  if (!past_text) return Fail("{}: expected the sequence once", where);
  parts->prefix.insert(parts->prefix.begin(), prefix.begin(), prefix.end());
  parts->suffix.insert(parts->suffix.end(), suffix.begin(), suffix.end());
  return {};
}

Status ReadPostProcessor(const Json& json, int depth, TokenizerParts* parts) {
  if (json.is_null()) return {};
  DS_ASSIGN(const std::string type, ReadString(json, "type", "post_processor"));
  if (type == "ByteLevel") return {};  // moves offsets only
  if (type == "TemplateProcessing") return ReadTemplate(json, parts);
  if (type != "Sequence") return Fail("post_processor \"{}\" is not supported", type);
  DS_ASSIGN(const Json* processors, ReadParts(json, "processors", depth, "post_processor Sequence"));
  for (const Json& part : *processors) DS_RETURN_IF_ERROR(ReadPostProcessor(part, depth + 1, parts));
  return {};
}

Result<std::unique_ptr<Tokenizer>> Build(std::string_view text) {
  TokenizerParts parts;
  TokenizerReader reader(&parts.bpe.vocabulary());
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &reader);
  if (!parsed || !reader.problem.empty()) {
    return Status::Error(reader.problem.empty() ? "invalid JSON" : reader.problem);
  }
  const Json& document = reader.document;
  if (!document.is_object()) return Fail("expected a JSON object");
  const auto member = [&](const char* key) { return document.contains(key) ? document[key] : Json(); };
  DS_ASSIGN(parts.normalizer, Normalizer::FromJson(member("normalizer")));
  DS_ASSIGN(parts.pre_tokenizer, PreTokenizer::FromJson(member("pre_tokenizer")));
  DS_ASSIGN(parts.decoder, DecoderSteps::FromJson(member("decoder")));
  DS_RETURN_IF_ERROR(ReadPostProcessor(member("post_processor"), 0, &parts));
  DS_RETURN_IF_ERROR(ReadModel(member("model"), reader, parts.pre_tokenizer.byte_level(), &parts.bpe));
  DS_ASSIGN(parts.added_tokens, ReadAddedTokens(document, parts.bpe.vocabulary()));
  return MakeTokenizer(std::move(parts));
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(std::string_view json, const std::string& name) {
  return Build(json).WithContext(name);
}

}  // namespace deepshock
