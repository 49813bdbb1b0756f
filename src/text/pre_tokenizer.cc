// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.h"

#include <algorithm>

#include "base/json.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/tokenizer_fields.h"

namespace deepshock {
namespace {

// GPT-2's pattern (openai/gpt-2, src/encoder.py), which ByteLevel uses unless told not to.
constexpr char kGpt2Pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum class Kind { kSplit, kPrefixSpace, kByteLevel, kMetaspace };
enum class Prepend { kNever, kFirst, kAlways };

struct Segment {
  TextRange range;
  bool is_match;
};

// Appends the non-empty pieces of `word`, given the matches in it (relative to its begin).
void SplitWord(const TextRange& word, const std::vector<TextRange>& matches, SplitBehavior behavior,
               bool invert, std::vector<TextRange>* out) {
  const auto put = [&](size_t begin, size_t end) {
    if (begin < end) out->push_back({word.begin + begin, word.begin + end});
  };
  if (behavior == SplitBehavior::kIsolated) {  // by far the most frequent
    size_t end = 0;
    for (const TextRange& match : matches) {
      put(end, match.begin);
      put(match.begin, match.end);
      end = match.end;
    }
    put(end, word.size());
    return;
  }
  std::vector<Segment> segments;
  size_t end = 0;
  for (const TextRange& match : matches) {
    if (match.begin > end) segments.push_back({{end, match.begin}, invert});
    segments.push_back({match, !invert});
    end = match.end;
  }
  if (end < word.size()) segments.push_back({{end, word.size()}, invert});

  // A segment is joined to its neighbour, or stands alone.
  std::vector<TextRange> pieces;
  bool previous = false;
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(segments.begin(), segments.end());
  for (const Segment& segment : segments) {
    if (behavior == SplitBehavior::kRemoved) {
      if (!segment.is_match) pieces.push_back(segment.range);
      continue;
    }
    const bool join =
        behavior == SplitBehavior::kContiguous ? segment.is_match == previous : segment.is_match && !previous;
    previous = segment.is_match;
    if (!join || pieces.empty()) {
      pieces.push_back(segment.range);
    } else if (backwards) {
      pieces.back().begin = segment.range.begin;
    } else {
      pieces.back().end = segment.range.end;
    }
  }
  if (backwards) std::reverse(pieces.begin(), pieces.end());
  for (const TextRange& piece : pieces) put(piece.begin, piece.end);
}

// Splits every word of `scratch`.
void SplitWords(const TextPattern& pattern, SplitBehavior behavior, bool invert,
                PreTokenizeScratch& scratch) {
  const std::string_view matching =
      scratch.matching.empty() ? scratch.text : std::string_view(scratch.matching);
  scratch.next_words.clear();
  for (const TextRange& word : scratch.words) {
    pattern.FindAll(matching.substr(word.begin, word.size()), scratch.regex, &scratch.matches);
    SplitWord(word, scratch.matches, behavior, invert, &scratch.next_words);
  }
  scratch.words.swap(scratch.next_words);
}

// Replaces every word by rewrite(word, index, &out).
template <typename Rewrite>
void RewriteWords(const Rewrite& rewrite, PreTokenizeScratch& scratch) {
  const auto apply = [&](std::string_view text, std::string* out, std::vector<TextRange>* words) {
    out->clear();
    for (size_t i = 0; i < scratch.words.size(); ++i) {
      const size_t begin = out->size();
      rewrite(text.substr(scratch.words[i].begin, scratch.words[i].size()), i, out);
      if (words != nullptr) words->push_back({begin, out->size()});
    }
  };
  scratch.next_words.clear();
  apply(scratch.text, &scratch.next_buffer, &scratch.next_words);
  if (!scratch.matching.empty()) {
    apply(scratch.matching, &scratch.next_matching, nullptr);
    scratch.matching.swap(scratch.next_matching);
  }
  scratch.buffer.swap(scratch.next_buffer);
  scratch.text = scratch.buffer;
  scratch.words.swap(scratch.next_words);
}

}  // namespace

struct PreTokenizer::Step {
  Kind kind;
  TextPattern pattern{};  // kSplit
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  std::string replacement{};  // kMetaspace: what stands for a space
  Prepend prepend = Prepend::kNever;
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::Split(std::string_view text, bool at_start, PreTokenizeScratch& scratch) const {
  scratch.text = text;
  scratch.matching = TextForMatching(text);
  scratch.words.clear();
  if (!text.empty()) scratch.words.push_back({0, text.size()});
  bool spelled = false;  // the text is in the byte-level alphabet
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    at_start = at_start && !scratch.words.empty() && scratch.words[0].begin == 0;
    switch (step.kind) {
      case Kind::kSplit:
        SplitWords(step.pattern, step.behavior, step.invert, scratch);
        break;
      case Kind::kPrefixSpace:
        RewriteWords(
            [](std::string_view word, size_t, std::string* out) {
              if (word.empty() || word[0] != ' ') out->push_back(' ');
              out->append(word);
            },
            scratch);
        break;
      case Kind::kByteLevel:
        if (s + 1 == steps_.size()) break;  // BPE takes bytes
        // Steps after it see the alphabet's characters.
        scratch.matching.clear();
        RewriteWords([](std::string_view word, size_t, std::string* out) { AppendByteLevel(word, out); },
                     scratch);
        spelled = true;
        break;
      case Kind::kMetaspace:
        RewriteWords(
            [&](std::string_view word, size_t index, std::string* out) {
              const bool wanted = step.prepend == Prepend::kAlways ||
                                  (step.prepend == Prepend::kFirst && index == 0 && at_start);
              if (wanted && word.substr(0, 1) != " " &&
                  word.substr(0, step.replacement.size()) != step.replacement) {
                *out += step.replacement;
              }
              for (const char c : word) {
                if (c == ' ') {
                  *out += step.replacement;
                } else {
                  out->push_back(c);
                }
              }
            },
            scratch);
        break;
    }
  }
  if (spelled) {
    RewriteWords([](std::string_view word, size_t, std::string* out) { AppendFromByteLevel(word, out); },
                 scratch);
  }
}

Result<PreTokenizer> PreTokenizer::FromPatterns(const std::vector<std::string_view>& patterns) {
  PreTokenizer result;
  for (const std::string_view pattern : patterns) {
    Step step{Kind::kSplit};
    DS_ASSIGN(step.pattern, TextPattern::FromRegex(pattern));
    result.steps_.push_back(std::move(step));
  }
  result.byte_level_ = true;
  return result;
}

Result<PreTokenizer> PreTokenizer::FromJson(const Json& json) {
  PreTokenizer result;
  if (!json.is_null()) DS_RETURN_IF_ERROR(result.Add(json, 0));
  return result;
}

namespace {

Result<SplitBehavior> ReadBehavior(const Json& json, const std::string& where) {
  constexpr std::pair<const char*, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  DS_ASSIGN(const std::string name, ReadString(json, "behavior", where));
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return Fail("{}: unknown behavior \"{}\"", where, name);
}

}  // namespace

Status PreTokenizer::Add(const Json& json, int depth) {
  DS_ASSIGN(const std::string type, ReadString(json, "type", "pre_tokenizer"));
  const std::string where = "pre_tokenizer " + type;
  if (type == "Sequence") {
    DS_ASSIGN(const Json* parts, ReadParts(json, "pretokenizers", depth, where));
    for (const Json& part : *parts) DS_RETURN_IF_ERROR(Add(part, depth + 1));
    return {};
  }
  if (type == "Metaspace") return AddMetaspace(json);
  if (type == "ByteLevel") {
    if (byte_level_) return Fail("{}: expected it once", where);
    DS_ASSIGN(const bool prefix_space, ReadBool(json, "add_prefix_space", true, where));
    DS_ASSIGN(const bool use_regex, ReadBool(json, "use_regex", true, where));
    if (prefix_space) steps_.push_back({Kind::kPrefixSpace});
    if (use_regex) {
      Step step{Kind::kSplit};
      DS_ASSIGN(step.pattern, TextPattern::FromRegex(kGpt2Pattern));
      steps_.push_back(std::move(step));
    }
    steps_.push_back({Kind::kByteLevel});
    byte_level_ = true;
    return {};
  }
  Step step{Kind::kSplit};
  if (type == "Split") {
    DS_ASSIGN(step.pattern, TextPattern::FromJson(json.value("pattern", Json()), where));
    DS_ASSIGN(step.behavior, ReadBehavior(json, where));
    DS_ASSIGN(step.invert, ReadBool(json, "invert", false, where));
  } else if (type == "Digits") {
    step.pattern = TextPattern::FromClass(IsNumericChar);
    DS_ASSIGN(const bool individual, ReadBool(json, "individual_digits", false, where));
    if (!individual) step.behavior = SplitBehavior::kContiguous;
  } else if (type == "Punctuation") {
    step.pattern = TextPattern::FromClass(IsPunctuationChar);
    if (!IsAbsent(json, "behavior")) {
      DS_ASSIGN(step.behavior, ReadBehavior(json, where));
    }
  } else if (type == "Whitespace") {
    // Rust's \w, with the joiners.
    DS_ASSIGN(step.pattern, TextPattern::FromRegex("[\\w\\u200c\\u200d]+|[^\\w\\s\\u200c\\u200d]+"));
    step.behavior = SplitBehavior::kRemoved;
    step.invert = true;
  } else if (type == "WhitespaceSplit") {
    step.pattern = TextPattern::FromClass(IsSpaceChar);
    step.behavior = SplitBehavior::kRemoved;
  } else {
    return Fail("pre_tokenizer \"{}\" is not supported", type);
  }
  steps_.push_back(std::move(step));
  return {};
}

Status PreTokenizer::AddMetaspace(const Json& json) {
  const std::string where = "pre_tokenizer Metaspace";
  if (byte_level_) return Fail("{}: expected before ByteLevel", where);
  Step step{Kind::kMetaspace};
  step.replacement = "\xe2\x96\x81";
  if (!IsAbsent(json, "replacement")) {
    DS_ASSIGN(step.replacement, ReadString(json, "replacement", where));
  }
  if (step.replacement.empty() ||
      DecodeUtf8(step.replacement).length != static_cast<int>(step.replacement.size())) {
    return Fail("{}: expected one character as \"replacement\", found \"{}\"", where, step.replacement);
  }
  // Files from before prepend_scheme say add_prefix_space.
  DS_ASSIGN(const bool add_prefix_space, ReadBool(json, "add_prefix_space", true, where));
  std::string scheme = add_prefix_space ? "always" : "never";
  if (!IsAbsent(json, "prepend_scheme")) {
    DS_ASSIGN(scheme, ReadString(json, "prepend_scheme", where));
  }
  if (scheme == "always") {
    step.prepend = Prepend::kAlways;
  } else if (scheme == "first") {
    step.prepend = Prepend::kFirst;
  } else if (scheme != "never") {
    return Fail("{}: unknown prepend_scheme \"{}\"", where, scheme);
  }
  DS_ASSIGN(const bool split, ReadBool(json, "split", true, where));
  std::string replacement = step.replacement;
  steps_.push_back(std::move(step));
  if (split) {
    Step splitting{Kind::kSplit};
    DS_ASSIGN(splitting.pattern, TextPattern::FromLiteral(std::move(replacement)));
    splitting.behavior = SplitBehavior::kMergedWithNext;
    steps_.push_back(std::move(splitting));
  }
  return {};
}

}  // namespace deepshock
