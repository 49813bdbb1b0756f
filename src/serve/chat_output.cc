// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_output.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "serve/tool_syntax.h"

namespace deepshock {
namespace {

using Kind = OutputEvent::Kind;

constexpr std::string_view kSpace = " \n\r\t";
// After so many texts that looked like calls and were none, the rest is content: each costs a search of its
// own.
constexpr int kMaxMalformed = 64;

size_t SkipSpace(std::string_view text, size_t from, std::string_view space = kSpace) {
  return std::min(text.find_first_not_of(space, from), text.size());
}

// Where the spaces begin that end text[0 .. end).
size_t SpaceBefore(std::string_view text, size_t end) {
  const size_t last = text.substr(0, end).find_last_not_of(kSpace);
  return last == std::string_view::npos ? 0 : last + 1;
}

// Whether text[from ..] begins with `marker`: kYes, kNo, or kPerhaps when the text ends too early to tell.
enum class Answer { kNo, kPerhaps, kYes };
Answer BeginsWith(std::string_view text, size_t from, std::string_view marker) {
  const std::string_view rest = text.substr(from);
  if (rest.starts_with(marker)) return Answer::kYes;
  return marker.starts_with(rest) ? Answer::kPerhaps : Answer::kNo;
}

// Markers between which calls and reasoning stand: all families but gpt-oss.
class MarkedOutput final : public ChatOutput {
 public:
  explicit MarkedOutput(const ChatOutputOptions& options) : ChatOutput(options) {
    syntax_ = options.tools != nullptr ? options.format.calls : CallSyntax::kNone;
    markers_ = MarkersOf(syntax_);
    if (options.format.reasoning == ReasoningSyntax::kMistralThink) {
      opening_ = "[THINK]";
      closing_ = "[/THINK]";
    } else if (options.format.reasoning == ReasoningSyntax::kThink) {
      opening_ = "<think>";
      closing_ = "</think>";
    }
    phase_ = opening_.empty() ? Phase::kContent : Phase::kOpening;
  }

 private:
  enum class Phase { kOpening, kReasoning, kContent, kCall };

  bool Step(bool at_end, Events* events) override {
    switch (phase_) {
      case Phase::kOpening:
        return Opening(at_end);
      case Phase::kReasoning:
        return Reasoning(at_end, events);
      case Phase::kContent:
        return syntax_ == CallSyntax::kForced ? Forced(at_end, events) : Content(at_end, events);
      default:
        return Call(at_end, events);
    }
  }

  void Drop(size_t count) {
    held_.erase(0, count);
    searched_ = 0;
  }

  void Enter(Phase phase) {
    phase_ = phase;
    at_beginning_ = true;
    scanning_ = false;
    searched_ = 0;
  }

  bool Opening(bool at_end) {
    const size_t begin = SkipSpace(held_, 0);
    const Answer opens = BeginsWith(held_, begin, opening_);
    if (opens == Answer::kPerhaps && !at_end) return false;
    if (opens == Answer::kYes) Drop(begin + opening_.size());
    Enter(opens == Answer::kYes || options_.starts_in_reasoning ? Phase::kReasoning : Phase::kContent);
    return true;
  }

  // Line ends at the beginning of reasoning, and of content after it, belong to the markers.
  void DropLineEnds() {
    if (!at_beginning_) return;
    const size_t count = SkipSpace(held_, 0, "\n\r");
    if (count > 0) Drop(count);
    at_beginning_ = held_.empty();
  }

  bool Reasoning(bool at_end, Events* events) {
    DropLineEnds();
    const size_t end = held_.find(closing_);
    if (end != std::string::npos) {
      EmitText(Kind::kReasoning, std::string_view(held_).substr(0, SpaceBefore(held_, end)), events);
      Drop(end + closing_.size());
      Enter(Phase::kContent);
      after_reasoning_ = true;
      return true;
    }
    size_t final = held_.size();
    if (!at_end) final = SpaceBefore(held_, final - PartialMarker(held_, closing_));
    EmitText(Kind::kReasoning, std::string_view(held_).substr(0, final), events);
    Drop(final);
    return false;
  }

  // Where the earliest marker of calls begins, or npos.
  size_t FindMarker() const {
    size_t first = std::string::npos;
    for (const std::string_view marker : {markers_.begin, markers_.section_begin, markers_.section_end}) {
      if (!marker.empty()) first = std::min(first, held_.find(marker));
    }
    return first;
  }

  // Llama's calls have no marker: an object may be one at the beginning of the content, or after another
  // call.
  Answer BareCall(bool at_end, size_t* begin) const {
    if (syntax_ != CallSyntax::kLlama || (any_content_ && !after_call_)) return Answer::kNo;
    *begin = SkipSpace(held_, 0, after_call_ ? " \n\r\t;" : kSpace);
    if (*begin == held_.size()) return at_end ? Answer::kNo : Answer::kPerhaps;
    return held_[*begin] == '{' ? Answer::kYes : Answer::kNo;
  }

  bool Content(bool at_end, Events* events) {
    if (after_reasoning_) DropLineEnds();
    if (syntax_ != CallSyntax::kNone && num_malformed_ < kMaxMalformed) {
      size_t begin = 0;
      const Answer bare = BareCall(at_end, &begin);
      if (bare == Answer::kPerhaps) return false;
      if (bare == Answer::kNo) begin = FindMarker();
      if (begin != std::string::npos) {
        const size_t text = bare == Answer::kYes ? 0 : SpaceBefore(held_, begin);
        EmitContent(text, events);
        marker_ = begin - text;
        Enter(Phase::kCall);
        return true;
      }
    }
    size_t final = held_.size();
    if (!at_end && syntax_ != CallSyntax::kNone) {
      size_t partial = 0;
      for (const std::string_view marker : {markers_.begin, markers_.section_begin, markers_.section_end}) {
        partial = std::max(partial, PartialMarker(held_, marker));
      }
      final = SpaceBefore(held_, final - partial);
    }
    // Line ends after the last call are the format's.
    if (at_end && after_call_ && SkipSpace(held_, 0) == held_.size()) Drop(held_.size());
    EmitContent(std::min(final, held_.size()), events);
    return false;
  }

  void EmitContent(size_t count, Events* events) {
    if (count == 0) return;
    EmitText(Kind::kContent, std::string_view(held_).substr(0, count), events);
    any_content_ = true;
    after_call_ = after_reasoning_ = false;
    Drop(count);
  }

  // What was taken for a call is content up to the end of its marker; the rest is looked at anew.
  bool Malformed(Events* events) {
    ++num_malformed_;
    size_t end = marker_ + 1;
    for (const std::string_view marker : {markers_.begin, markers_.section_begin, markers_.section_end}) {
      if (!marker.empty() && BeginsWith(held_, marker_, marker) == Answer::kYes)
        end = marker_ + marker.size();
    }
    Enter(Phase::kContent);
    EmitContent(std::min(end, held_.size()), events);
    return true;
  }

  bool Found(std::vector<ToolCall> calls, size_t end, Events* events) {
    Drop(end);
    Enter(Phase::kContent);
    after_call_ = true;
    for (const ToolCall& call : calls) {
      if (!complete_) EmitCall(call.id, call.name, call.arguments, events);
    }
    return true;
  }

  bool Call(bool at_end, Events* events) {
    if (markers_.end.empty()) return JsonCall(at_end, events);
    size_t begin = marker_;
    if (!markers_.section_end.empty() && BeginsWith(held_, begin, markers_.section_end) == Answer::kYes) {
      if (!after_call_) return Malformed(events);
      Drop(begin + markers_.section_end.size());
      Enter(Phase::kContent);
      return true;
    }
    if (!markers_.section_begin.empty() && BeginsWith(held_, begin, markers_.section_begin) == Answer::kYes) {
      begin = SkipSpace(held_, begin + markers_.section_begin.size());
      const Answer follows = BeginsWith(held_, begin, markers_.begin);
      if (follows == Answer::kPerhaps && !at_end) return false;
      if (follows != Answer::kYes) return Malformed(events);
    }
    begin += markers_.begin.size();
    const std::string_view all = held_;
    if (!MayBeCallBody(syntax_, all.substr(begin))) return Malformed(events);
    size_t from = std::max(begin, searched_);
    for (;;) {
      const size_t end = all.find(markers_.end, from);
      ToolCall call;
      if (end == std::string_view::npos) {
        // The last marker may be missing where the answer ends.
        if (at_end &&
            ParseCallBody(syntax_, all.substr(begin), options_.tools, &call) == BodyVerdict::kCall) {
          return Found({call}, held_.size(), events);
        }
        if (at_end) return Malformed(events);
        searched_ = std::max(begin, all.size() - std::min(all.size(), markers_.end.size() - 1));
        return false;
      }
      const BodyVerdict verdict =
          ParseCallBody(syntax_, all.substr(begin, end - begin), options_.tools, &call);
      if (verdict == BodyVerdict::kCall) return Found({call}, end + markers_.end.size(), events);
      if (verdict == BodyVerdict::kNoCall || ++num_malformed_ >= kMaxMalformed) return Malformed(events);
      from = searched_ = end + 1;
    }
  }

  // Syntaxes in which a call ends where its JSON does.
  bool JsonCall(bool at_end, Events* events) {
    ToolCall named;
    size_t begin = marker_;
    const Answer head = syntax_ == CallSyntax::kMistral ? MistralHead(&begin, &named) : LlamaHead(&begin);
    if (head == Answer::kPerhaps && !at_end) return false;
    if (head != Answer::kYes) return Malformed(events);
    if (!scanning_) scanner_.Restart(begin);
    scanning_ = true;
    if (!scanner_.Scan(held_)) return at_end ? Malformed(events) : false;
    const std::string_view json = std::string_view(held_).substr(begin, scanner_.position() - begin);
    std::vector<ToolCall> calls;
    if (!named.name.empty()) {
      calls.push_back({named.id, named.name, std::string(json)});
      std::vector<ToolCall> checked;
      // A name with any object is a call when the object is JSON.
      if (json[0] != '{' ||
          !ParseJsonCalls("{\"name\":\"f\",\"arguments\":" + std::string(json) + "}", &checked)) {
        return Malformed(events);
      }
    } else if (!ParseJsonCalls(json, &calls) || (syntax_ == CallSyntax::kLlama && !KnowsAll(calls))) {
      return Malformed(events);
    }
    return Found(std::move(calls), scanner_.position(), events);
  }

  // [TOOL_CALLS] and a list or an object, or NAME, perhaps [CALL_ID]ID, [ARGS], and an object.
  Answer MistralHead(size_t* begin, ToolCall* named) const {
    const std::string_view text = held_;
    size_t at = SkipSpace(text, *begin + markers_.begin.size());
    if (at == text.size()) return Answer::kPerhaps;
    if (text[at] != '[' && text[at] != '{') {
      const size_t name = at;
      while (at < text.size() && IsToolNameChar(text[at])) ++at;
      if (at == name) return Answer::kNo;
      named->name = std::string(text.substr(name, at - name));
      const Answer has_id = BeginsWith(text, at, "[CALL_ID]");
      if (has_id == Answer::kYes) {
        const size_t id = at += 9;
        while (at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0) ++at;
        named->id = std::string(text.substr(id, at - id));
      }
      const Answer has_arguments = BeginsWith(text, at, "[ARGS]");
      if (has_arguments == Answer::kYes) at += 6;
      if (has_id == Answer::kPerhaps || has_arguments == Answer::kPerhaps) return Answer::kPerhaps;
      at = SkipSpace(text, at);
      if (at == text.size()) return Answer::kPerhaps;
      if (text[at] != '{') return Answer::kNo;
    }
    *begin = at;
    return Answer::kYes;
  }

  // <|python_tag|> or nothing, and an object whose first key is of those that a call has.
  Answer LlamaHead(size_t* begin) const {
    const std::string_view text = held_;
    size_t at = *begin;
    if (BeginsWith(text, at, markers_.begin) == Answer::kYes)
      at = SkipSpace(text, at + markers_.begin.size());
    if (at == text.size()) return Answer::kPerhaps;
    if (text[at] != '{') return Answer::kNo;
    *begin = at;
    const size_t key = SkipSpace(text, at + 1);
    Answer answer = Answer::kNo;
    for (const std::string_view known : {"\"name\"", "\"type\"", "\"parameters\"", "\"arguments\""}) {
      answer = std::max(answer, BeginsWith(text, key, known));
    }
    return answer;
  }

  bool KnowsAll(const std::vector<ToolCall>& calls) const {
    return std::all_of(calls.begin(), calls.end(), [this](const ToolCall& call) {
      return std::any_of(options_.tools->begin(), options_.tools->end(),
                         [&](const auto& tool) { return tool["function"]["name"] == call.name; });
    });
  }

  // The whole answer is one call.
  bool Forced(bool at_end, Events* events) {
    if (!at_end) return false;
    std::vector<ToolCall> calls;
    if (!held_.empty() && ParseJsonCalls(held_, &calls)) return Found(std::move(calls), held_.size(), events);
    EmitContent(held_.size(), events);
    return false;
  }

  CallSyntax syntax_ = CallSyntax::kNone;
  CallMarkers markers_;
  std::string_view opening_, closing_;  // of reasoning; empty: none
  Phase phase_ = Phase::kContent;
  size_t marker_ = 0;             // kCall: where in `held_` its marker begins, after spaces
  size_t searched_ = 0;           // kCall: `held_` has no end before this
  JsonScanner scanner_;           // kCall, of syntaxes that end with their JSON
  bool scanning_ = false;         // it has begun
  bool at_beginning_ = true;      // of the phase
  bool after_reasoning_ = false;  // and before any content
  bool any_content_ = false;
  bool after_call_ = false;  // with at most spaces since
  int num_malformed_ = 0;
};

// Mistral's templates take ids of nine letters and digits only.
std::string MistralId(const std::string& call_id, int call) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : call_id + std::to_string(call))
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  std::string id;
  for (int i = 0; i < 9; ++i, hash /= 36) id += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  return id;
}

}  // namespace

std::unique_ptr<ChatOutput> ChatOutput::Create(const ChatOutputOptions& options) {
  const bool harmony =
      options.format.reasoning == ReasoningSyntax::kHarmony && options.format.calls != CallSyntax::kForced;
  if (harmony) return NewHarmonyOutput(options);
  return std::make_unique<MarkedOutput>(options);
}

void ChatOutput::Push(std::string_view text, Events* events) {
  if (complete_) return;
  held_ += text;
  while (!complete_ && Step(false, events)) {
  }
}

void ChatOutput::Finish(Events* events) {
  while (!complete_ && Step(true, events)) {
  }
}

void ChatOutput::EmitText(OutputEvent::Kind kind, std::string_view text, Events* events) {
  if (text.empty()) return;
  if (events->empty() || events->back().kind != kind) events->push_back({kind, {}, 0, {}, {}});
  events->back().text += text;
}

void ChatOutput::EmitCall(const std::string& id, const std::string& name, const std::string& arguments,
                          Events* events) {
  const int call = num_calls_++;
  std::string used = id;
  if (used.empty() && options_.format.calls == CallSyntax::kMistral) used = MistralId(options_.call_id, call);
  if (used.empty()) used = options_.call_id + "_" + std::to_string(call);
  events->push_back({Kind::kCallBegin, {}, call, used, name});
  events->push_back({Kind::kCallArguments, arguments, call, {}, {}});
  events->push_back({Kind::kCallEnd, {}, call, {}, {}});
  complete_ = !options_.parallel_calls;
}

size_t PartialMarker(std::string_view text, std::string_view marker) {
  if (marker.empty()) return 0;
  for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.ends_with(marker.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace deepshock
