// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "serve/json_fields.h"
#include "serve/messages_api.h"

namespace deepshock {
namespace {

using Kind = OutputEvent::Kind;

class MessagesShape final : public AnswerShape {
 public:
  explicit MessagesShape(const AnswerStart& start) {
    message_ = {{"id", "msg_" + start.id},       {"type", "message"},
                {"role", "assistant"},           {"model", start.model},
                {"content", FieldJson::array()}, {"stop_reason", nullptr},
                {"stop_sequence", nullptr},      {"usage", Usage(start.prompt_tokens, 0, 0)}};
  }

  std::string Begin() override { return ServerSentEvent({{"type", "message_start"}, {"message", message_}}); }

  std::string Write(const std::vector<OutputEvent>& events) override {
    std::string out;
    for (const OutputEvent& event : events) {
      switch (event.kind) {
        case Kind::kReasoning:
          if (open_ != event.kind) {
            out += Close();
            out += Open(event.kind, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
          }
          Block()["thinking"].get_ref<std::string&>() += event.text;
          out += Delta({{"type", "thinking_delta"}, {"thinking", event.text}});
          break;
        case Kind::kContent:
          if (open_ != event.kind) {
            out += Close();
            out += Open(event.kind, {{"type", "text"}, {"text", ""}});
          }
          Block()["text"].get_ref<std::string&>() += event.text;
          out += Delta({{"type", "text_delta"}, {"text", event.text}});
          break;
        case Kind::kCallBegin:
          any_call_ = true;
          arguments_.clear();
          out += Close();
          out += Open(
              event.kind,
              {{"type", "tool_use"}, {"id", event.id}, {"name", event.name}, {"input", FieldJson::object()}});
          break;
        case Kind::kCallArguments:
          arguments_ += event.text;
          out += Delta({{"type", "input_json_delta"}, {"partial_json", event.text}});
          break;
        case Kind::kCallEnd:
          out += Close();
          break;
      }
    }
    return out;
  }

  std::string End(const AnswerEnd& end) override {
    std::string out = Close();
    const char* reason = "end_turn";
    if (end.finish_reason == FinishReason::kLength) {
      reason = "max_tokens";
    } else if (any_call_) {
      reason = "tool_use";
    } else if (!end.stop.empty()) {
      reason = "stop_sequence";
      message_["stop_sequence"] = end.stop;
    }
    message_["stop_reason"] = reason;
    message_["usage"] = Usage(end.prompt_tokens, end.cached_prompt_tokens, end.output_tokens);
    FieldJson delta = {{"type", "message_delta"},
                       {"delta", {{"stop_reason", reason}, {"stop_sequence", message_["stop_sequence"]}}},
                       {"usage", message_["usage"]}};
    if (!end.deepshock.empty()) {
      message_["deepshock"] = FieldJson::array({FieldJson::parse(end.deepshock)});
      delta["deepshock"] = message_["deepshock"];
    }
    return out + ServerSentEvent(delta) + ServerSentEvent({{"type", "message_stop"}});
  }

  std::string Fail(const ApiError& error) override {
    return "event: error\ndata: " + AnthropicErrorBody(error, {}) + "\n\n";
  }

  std::string Body() const override { return DumpJson(message_); }

 private:
  // Tokens that the cache held are counted apart.
  static FieldJson Usage(int64_t prompt, int64_t cached, int64_t output) {
    return {{"input_tokens", prompt - cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", cached},
            {"output_tokens", output}};
  }

  FieldJson& Block() { return message_["content"].back(); }
  size_t Index() const { return message_["content"].size() - 1; }

  std::string Open(Kind kind, FieldJson block) {
    open_ = kind;
    message_["content"].push_back(std::move(block));
    return ServerSentEvent({{"type", "content_block_start"}, {"index", Index()}, {"content_block", Block()}});
  }

  std::string Delta(FieldJson delta) const {
    return ServerSentEvent(
        {{"type", "content_block_delta"}, {"index", Index()}, {"delta", std::move(delta)}});
  }

  std::string Close() {
    if (!open_) return {};
    std::string out;
    if (*open_ == Kind::kReasoning) out = Delta({{"type", "signature_delta"}, {"signature", ""}});
    // ChatOutput tells only calls whose arguments are a JSON object.
    if (*open_ == Kind::kCallBegin) {
      FieldJson input = FieldJson::parse(arguments_, nullptr, false);
      if (input.is_object()) Block()["input"] = std::move(input);
    }
    open_.reset();
    return out + ServerSentEvent({{"type", "content_block_stop"}, {"index", Index()}});
  }

  FieldJson message_;
  std::optional<Kind> open_;  // kReasoning, kContent or kCallBegin: the kind of the block under way
  std::string arguments_;     // of the call under way
  bool any_call_ = false;
};

}  // namespace

std::unique_ptr<AnswerShape> NewMessagesShape(const AnswerStart& start) {
  return std::make_unique<MessagesShape>(start);
}

}  // namespace deepshock
