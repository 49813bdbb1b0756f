// SPDX-License-Identifier: Apache-2.0
// gpt-oss writes messages: <|start|>assistant<|channel|>CHANNEL<|message|>TEXT<|end|>, where CHANNEL is
// analysis, final or commentary, and a header with "to=functions.NAME" makes TEXT the arguments of a call,
// which <|call|> ends. The prompt has the first <|start|>assistant.
// https://cookbook.openai.com/articles/openai-harmony
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "serve/chat_output.h"
#include "serve/tool_syntax.h"

namespace deepshock {
namespace {

using Kind = OutputEvent::Kind;

constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kEnds[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"};
constexpr size_t kMaxHeader = 512;  // bytes; a longer one is none

class HarmonyOutput final : public ChatOutput {
 public:
  explicit HarmonyOutput(const ChatOutputOptions& options) : ChatOutput(options) {}

 private:
  bool Step(bool at_end, Events* events) override {
    return in_header_ ? Header(at_end, events) : Body(at_end, events);
  }

  // The header up to <|message|>. What is none begins the content.
  bool Header(bool at_end, Events* events) {
    const size_t end = held_.find(kMessage);
    const bool may_be = BeginsAsHeader();
    const bool whole = may_be && end != std::string::npos && end <= kMaxHeader;
    if (!whole && !at_end && may_be && held_.size() <= kMaxHeader + kMessage.size()) return false;
    if (held_.empty()) return false;
    in_header_ = false;
    kind_ = Kind::kContent;
    name_.clear();
    if (!whole) {
      // A marker that begins no header is not looked at again.
      if (held_[0] == '<') {
        EmitText(kind_, "<", events);
        held_.erase(0, 1);
      }
      return true;
    }
    const std::string_view header = std::string_view(held_).substr(0, end);
    if (header.find("<|channel|>analysis") != std::string_view::npos) kind_ = Kind::kReasoning;
    const size_t to = header.find("to=");
    if (to != std::string_view::npos) {
      std::string_view name = header.substr(to + 3);
      if (name.starts_with("functions.")) name.remove_prefix(10);
      size_t length = 0;
      while (length < name.size() && IsToolNameChar(name[length])) ++length;
      name_ = std::string(name.substr(0, length));
    }
    header_ = held_.substr(0, end + kMessage.size());
    held_.erase(0, header_.size());
    return true;
  }

  bool BeginsAsHeader() const {
    for (const std::string_view opening :
         {"<|channel|>", "<|start|>", "<|message|>", " to=", "<|constrain|>"}) {
      const std::string_view held = std::string_view(held_).substr(0, opening.size());
      if (opening.starts_with(held)) return true;
    }
    return false;
  }

  bool Body(bool at_end, Events* events) {
    size_t end = std::string::npos, length = 0, partial = 0;
    for (const std::string_view marker : kEnds) {
      const size_t at = held_.find(marker, searched_);
      if (at < end) {
        end = at;
        length = marker.starts_with("<|start|>") || marker.starts_with("<|channel|>") ? 0 : marker.size();
      }
      partial = std::max(partial, PartialMarker(held_, marker));
    }
    const bool is_call = !name_.empty() && options_.tools != nullptr;
    const bool whole = end != std::string::npos;
    if (!whole && !at_end && is_call) {
      searched_ = held_.size() - partial;
      return false;
    }
    const size_t final = whole ? end : held_.size() - (at_end ? 0 : partial);
    if (is_call) {
      EndCall(std::string_view(held_).substr(0, final), events);
    } else {
      EmitText(kind_, std::string_view(held_).substr(0, final), events);
    }
    held_.erase(0, whole ? end + length : final);
    searched_ = 0;
    in_header_ = whole;
    return whole;
  }

  // Arguments that are no JSON object make the message content, as it stands.
  void EndCall(std::string_view text, Events* events) {
    const size_t first = text.find_first_not_of(" \n\r\t");
    std::string arguments(first == std::string_view::npos ? std::string_view("{}") : text);
    const Result<Json> json = ParseJson(arguments);
    if (json.ok() && json->is_object()) {
      EmitCall({}, name_, arguments, events);
    } else {
      EmitText(Kind::kContent, header_, events);
      EmitText(Kind::kContent, text, events);
    }
  }

  bool in_header_ = true;
  Kind kind_ = Kind::kContent;  // of the message under way
  std::string name_;            // whom it calls; empty: nobody
  std::string header_;
  size_t searched_ = 0;  // of a call's message: no end before this
};

}  // namespace

std::unique_ptr<ChatOutput> NewHarmonyOutput(const ChatOutputOptions& options) {
  return std::make_unique<HarmonyOutput>(options);
}

}  // namespace deepshock
