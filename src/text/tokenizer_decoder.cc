// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_decoder.h"

#include <algorithm>

#include "base/json.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/tokenizer_fields.h"

namespace deepshock {
namespace {

constexpr char kReplacementCharacter[] = "\xef\xbf\xbd";
constexpr char kMetaspaceCharacter[] = "\xe2\x96\x81";

// The byte of "<0x41>", or -1.
int ByteOfToken(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const char lower = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value * 16 + (lower - 'a' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

// At most `start` and `stop` times `character` off the two ends.
std::string_view StripToken(std::string_view token, std::string_view character, size_t start, size_t stop) {
  for (; start > 0 && token.substr(0, character.size()) == character; --start)
    token.remove_prefix(character.size());
  for (; stop > 0 && token.size() >= character.size() &&
         token.substr(token.size() - character.size()) == character;
       --stop) {
    token.remove_suffix(character.size());
  }
  return token;
}

// "▁" as a space, or as nothing.
std::string WithSpaces(std::string_view token, std::string_view character, bool drop) {
  std::string out;
  size_t end = 0;
  for (size_t at = token.find(character); at != std::string_view::npos; at = token.find(character, end)) {
    out.append(token.substr(end, at - end));
    if (!drop) out.push_back(' ');
    end = at + character.size();
  }
  out.append(token.substr(end));
  return out;
}

std::string BytesOfByteLevelToken(std::string_view token) {
  std::string bytes;
  if (!AppendFromByteLevel(token, &bytes)) bytes = token;  // an added token: stands for itself
  return bytes;
}

}  // namespace

void DecoderSteps::Append(Step step) {
  const bool joins = step.kind == Kind::kFuse || step.kind == Kind::kByteLevel;
  if (joined_ && step.kind != Kind::kFuse) {
    if (step.kind == Kind::kStrip && step.stop == 0) {
      step.kind = Kind::kStripText;
    } else {
      steps_.push_back({Kind::kCollect});
      joined_ = false;
    }
  }
  joined_ = joined_ || joins;
  steps_.push_back(std::move(step));
}

DecoderSteps DecoderSteps::ByteLevel() {
  DecoderSteps result;
  result.Append({Kind::kByteLevel});
  return result;
}

DecoderSteps DecoderSteps::SentencePiece(bool strips_leading_space) {
  DecoderSteps result;
  Step spaces{Kind::kMetaspace};
  spaces.content = kMetaspaceCharacter;
  spaces.keeps_first = true;
  result.Append(std::move(spaces));
  result.Append({Kind::kByteFallback});
  result.Append({Kind::kFuse});
  if (strips_leading_space) {
    Step strip{Kind::kStrip};
    strip.content = " ";
    strip.start = 1;
    result.Append(std::move(strip));
  }
  return result;
}

Result<DecoderSteps> DecoderSteps::FromJson(const Json& json) {
  DecoderSteps result;
  if (json.is_null()) {
    result.Append({Kind::kJoinWithSpaces});
  } else {
    DS_RETURN_IF_ERROR(result.Add(json, 0));
  }
  return result;
}

Status DecoderSteps::Add(const Json& json, int depth) {
  DS_ASSIGN(const std::string type, ReadString(json, "type", "decoder"));
  const std::string where = "decoder " + type;
  if (type == "Sequence") {
    DS_ASSIGN(const Json* parts, ReadParts(json, "decoders", depth, where));
    for (const Json& part : *parts) DS_RETURN_IF_ERROR(Add(part, depth + 1));
    return {};
  }
  Step step{};
  if (type == "ByteLevel") {
    step.kind = Kind::kByteLevel;
  } else if (type == "ByteFallback") {
    step.kind = Kind::kByteFallback;
  } else if (type == "Fuse") {
    step.kind = Kind::kFuse;
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    DS_ASSIGN(step.content, ReadString(json, "content", where));
    DS_ASSIGN(step.pattern, TextPattern::FromJson(json.value("pattern", Json()), where));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    DS_ASSIGN(step.content, ReadString(json, "content", where));
    DS_ASSIGN(const int64_t start, ReadInteger(json, "start", 0, 1 << 20, where));
    DS_ASSIGN(const int64_t stop, ReadInteger(json, "stop", 0, 1 << 20, where));
    step.start = static_cast<size_t>(start);
    step.stop = static_cast<size_t>(stop);
  } else if (type == "Metaspace") {
    step.kind = Kind::kMetaspace;
    step.content = kMetaspaceCharacter;
    if (!IsAbsent(json, "replacement")) {
      DS_ASSIGN(step.content, ReadString(json, "replacement", where));
    }
    DS_ASSIGN(const bool add_prefix_space, ReadBool(json, "add_prefix_space", true, where));
    step.keeps_first =
        IsAbsent(json, "prepend_scheme") ? !add_prefix_space : json["prepend_scheme"] == "never";
  } else {
    return Fail("decoder \"{}\" is not supported", type);
  }
  const bool needs_character = step.kind == Kind::kStrip || step.kind == Kind::kMetaspace;
  if (needs_character &&
      (step.content.empty() || DecodeUtf8(step.content).length != static_cast<int>(step.content.size()))) {
    return Fail("{}: expected one character, found \"{}\"", where, step.content);
  }
  Append(std::move(step));
  return {};
}

std::string DecoderSteps::TokenBytes(std::string_view token) const {
  std::string text(token);
  RegexScratch scratch;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kByteLevel:
        return BytesOfByteLevelToken(text);
      case Kind::kByteFallback:
        if (const int byte = ByteOfToken(text); byte >= 0) return std::string(1, static_cast<char>(byte));
        break;
      case Kind::kReplace:
        text = step.pattern.ReplaceAll(text, step.content, scratch);
        break;
      case Kind::kMetaspace:
        text = WithSpaces(text, step.content, false);
        break;
      case Kind::kFuse:
      case Kind::kStrip:
      case Kind::kStripText:
      case Kind::kCollect:
      case Kind::kJoinWithSpaces:
        break;  // these concern the token's neighbours
    }
  }
  return text;
}

DecodePipeline::DecodePipeline(const DecoderSteps& steps) : steps_(steps), states_(steps.steps().size()) {}

void DecodePipeline::Push(std::string_view token, std::string* out) { Feed(0, token, out); }

void DecodePipeline::FlushByteRun(size_t step, std::string* out) {
  std::string run;
  run.swap(states_[step].pending);
  if (run.empty()) return;
  if (FindInvalidUtf8(run) == std::string::npos) return Feed(step + 1, run, out);
  // Hugging Face tokenizers gives up on the whole run.
  for (size_t i = 0; i < run.size(); ++i) Feed(step + 1, kReplacementCharacter, out);
}

// Hands `token` to step number `index`, which hands on what it makes of it.
void DecodePipeline::Feed(size_t index, std::string_view token, std::string* out) {
  if (index == states_.size()) {
    out->append(token);
    return;
  }
  using Kind = DecoderSteps::Kind;
  const DecoderSteps::Step& step = steps_.steps()[index];
  State& state = states_[index];
  switch (step.kind) {
    case Kind::kFuse:
      return Feed(index + 1, token, out);
    case Kind::kCollect:
      state.pending += token;
      return;
    case Kind::kReplace:
      return Feed(index + 1, step.pattern.ReplaceAll(token, step.content, regex_), out);
    case Kind::kStrip:
      return Feed(index + 1, StripToken(token, step.content, step.start, step.stop), out);
    case Kind::kMetaspace: {
      const bool drop = state.seen++ == 0 && !step.keeps_first;
      return Feed(index + 1, WithSpaces(token, step.content, drop), out);
    }
    case Kind::kJoinWithSpaces:
      if (state.seen++ > 0) Feed(index + 1, " ", out);
      return Feed(index + 1, token, out);
    case Kind::kByteFallback: {
      const int byte = ByteOfToken(token);
      if (byte >= 0) {
        state.pending.push_back(static_cast<char>(byte));
        return;
      }
      FlushByteRun(index, out);
      return Feed(index + 1, token, out);
    }
    case Kind::kStripText:
      while (!state.done && !token.empty()) {
        state.done = state.seen == step.start || token.substr(0, step.content.size()) != step.content;
        if (state.done) break;
        token.remove_prefix(step.content.size());
        ++state.seen;
      }
      return Feed(index + 1, token, out);
    case Kind::kByteLevel: {
      state.pending += BytesOfByteLevelToken(token);
      const size_t whole = CompleteUtf8Prefix(state.pending);
      if (whole == 0) return;
      const std::string text = ReplaceInvalidUtf8(std::string_view(state.pending).substr(0, whole));
      state.pending.erase(0, whole);
      return Feed(index + 1, text, out);
    }
  }
}

void DecodePipeline::Finish(std::string* out) {
  using Kind = DecoderSteps::Kind;
  for (size_t index = 0; index < states_.size(); ++index) {
    const Kind kind = steps_.steps()[index].kind;
    std::string& pending = states_[index].pending;
    if (kind == Kind::kByteFallback) FlushByteRun(index, out);
    if (kind == Kind::kByteLevel && !pending.empty()) Feed(index + 1, ReplaceInvalidUtf8(pending), out);
    if (kind == Kind::kCollect) Feed(index + 1, pending, out);
    pending.clear();
  }
}

}  // namespace deepshock
