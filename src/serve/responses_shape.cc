// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "serve/json_fields.h"
#include "serve/responses_api.h"

namespace deepshock {
namespace {

using Kind = OutputEvent::Kind;

class ResponsesShape final : public AnswerShape {
 public:
  ResponsesShape(const AnswerStart& start, const SharedJson& echo) : start_(start) {
    response_ = {{"id", "resp_" + start.id},
                 {"object", "response"},
                 {"created_at", start.created},
                 {"status", "in_progress"},
                 {"error", nullptr},
                 {"incomplete_details", nullptr},
                 {"model", start.model},
                 {"output", FieldJson::array()},
                 {"usage", nullptr}};
    if (echo != nullptr) response_.update(*echo);
  }

  std::string Begin() override {
    const std::string created = Event("response.created", {{"response", response_}});
    return created + Event("response.in_progress", {{"response", response_}});
  }

  std::string Write(const std::vector<OutputEvent>& events) override {
    std::string out;
    for (const OutputEvent& event : events) {
      if (event.kind == Kind::kReasoning || event.kind == Kind::kContent) {
        if (open_ != event.kind) {
          out += CloseItem("completed");
          out += OpenText(event.kind);
        }
        text_ += event.text;
        FieldJson delta = InPart({{"delta", event.text}});
        if (event.kind == Kind::kContent) delta["logprobs"] = FieldJson::array();
        out += Event(
            event.kind == Kind::kContent ? "response.output_text.delta" : "response.reasoning_text.delta",
            std::move(delta));
      } else if (event.kind == Kind::kCallBegin) {
        out += CloseItem("completed");
        out += OpenCall(event);
      } else if (event.kind == Kind::kCallArguments) {
        text_ += event.text;
        out += Event("response.function_call_arguments.delta", InItem({{"delta", event.text}}));
      } else {
        out += CloseItem("completed");
      }
    }
    return out;
  }

  std::string End(const AnswerEnd& end) override {
    const bool whole = end.finish_reason == FinishReason::kStop;
    std::string out = CloseItem(whole ? "completed" : "incomplete");
    response_["status"] = whole ? "completed" : "incomplete";
    if (!whole) response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response_["usage"] = {
        {"input_tokens", end.prompt_tokens},
        {"input_tokens_details", {{"cached_tokens", end.cached_prompt_tokens}, {"cache_write_tokens", 0}}},
        {"output_tokens", end.output_tokens},
        {"output_tokens_details", {{"reasoning_tokens", end.reasoning_tokens}}},
        {"total_tokens", end.prompt_tokens + end.output_tokens}};
    if (!end.deepshock.empty()) response_["deepshock"] = FieldJson::array({FieldJson::parse(end.deepshock)});
    return out + Event(whole ? "response.completed" : "response.incomplete", {{"response", response_}});
  }

  std::string Fail(const ApiError& error) override {
    CloseItem("incomplete");
    response_["status"] = "failed";
    response_["error"] = {{"code", "server_error"}, {"message", error.message}};
    return Event("response.failed", {{"response", response_}});
  }

  std::string Body() const override { return DumpJson(response_); }

 private:
  std::string Event(const char* type, FieldJson members) {
    FieldJson event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(members);
    return ServerSentEvent(event);
  }

  FieldJson& Item() { return response_["output"].back(); }
  FieldJson InItem(FieldJson members) {
    FieldJson all = {{"item_id", Item()["id"]}, {"output_index", response_["output"].size() - 1}};
    all.update(members);
    return all;
  }
  FieldJson InPart(FieldJson members) {
    members["content_index"] = 0;
    return InItem(std::move(members));
  }
  std::string ItemId(const char* prefix) const {
    return prefix + start_.id + "_" + std::to_string(response_["output"].size());
  }
  std::string AddItem(FieldJson item) {
    response_["output"].push_back(std::move(item));
    text_.clear();
    return Event("response.output_item.added",
                 {{"output_index", response_["output"].size() - 1}, {"item", Item()}});
  }

  FieldJson Part(Kind kind) const {
    if (kind == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", text_}};
    return {{"type", "output_text"},
            {"text", text_},
            {"annotations", FieldJson::array()},
            {"logprobs", FieldJson::array()}};
  }

  std::string OpenText(Kind kind) {
    FieldJson item = {{"id", ItemId(kind == Kind::kContent ? "msg_" : "rs_")},
                      {"type", kind == Kind::kContent ? "message" : "reasoning"},
                      {"status", "in_progress"}};
    if (kind == Kind::kContent) item["role"] = "assistant";
    if (kind == Kind::kReasoning) item["summary"] = FieldJson::array();
    item["content"] = FieldJson::array();
    open_ = kind;
    const std::string added = AddItem(std::move(item));
    return added + Event("response.content_part.added", InPart({{"part", Part(kind)}}));
  }

  std::string OpenCall(const OutputEvent& event) {
    open_ = Kind::kCallBegin;
    return AddItem({{"id", ItemId("fc_")},
                    {"type", "function_call"},
                    {"status", "in_progress"},
                    {"call_id", event.id},
                    {"name", event.name},
                    {"arguments", ""}});
  }

  std::string CloseItem(const char* status) {
    if (!open_) return {};
    const Kind kind = *open_;
    open_.reset();
    std::string out;
    if (kind == Kind::kCallBegin) {
      Item()["arguments"] = text_;
      out = Event("response.function_call_arguments.done",
                  InItem({{"name", Item()["name"]}, {"arguments", text_}}));
    } else {
      FieldJson done = InPart({{"text", text_}});
      if (kind == Kind::kContent) done["logprobs"] = FieldJson::array();
      out = Event(kind == Kind::kContent ? "response.output_text.done" : "response.reasoning_text.done",
                  std::move(done));
      out += Event("response.content_part.done", InPart({{"part", Part(kind)}}));
      Item()["content"].push_back(Part(kind));
    }
    Item()["status"] = status;
    return out + Event("response.output_item.done",
                       {{"output_index", response_["output"].size() - 1}, {"item", Item()}});
  }

  const AnswerStart start_;
  FieldJson response_;
  std::optional<Kind> open_;  // kReasoning, kContent or kCallBegin: the kind of the item under way
  std::string text_;          // of it
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<AnswerShape> NewResponsesShape(const AnswerStart& start, const SharedJson& echo) {
  return std::make_unique<ResponsesShape>(start, echo);
}

}  // namespace deepshock
