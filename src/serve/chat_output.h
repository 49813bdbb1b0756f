// SPDX-License-Identifier: Apache-2.0
// ChatOutput: takes an answer's text apart as it comes, into reasoning, content and tool calls, by the format
// of the model's family. However the text is cut into pieces, the events together say the same. A call is
// told when it is whole and well formed; text that looks like a call and is none is content. Nothing but the
// markers, and line ends beside them, is left out. One thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_format.h"

namespace deepshock {

struct OutputEvent {
  enum class Kind {
    kReasoning,      // text
    kContent,        // text
    kCallBegin,      // id, name
    kCallArguments,  // text
    kCallEnd,
  };
  Kind kind = Kind::kContent;
  std::string text;
  int call = 0;  // index of the call, from 0
  std::string id, name;
};

struct ChatOutputOptions {
  ChatFormat format;
  // Of Conversation's request; null: no calls are looked for.
  SharedJson tools;
  bool starts_in_reasoning = false;  // StartsInReasoning
  bool parallel_calls = true;        // false: what follows the first call is dropped
  // For calls to which the model gives no id of its own; unique for each answer.
  std::string call_id = "call";
};

class ChatOutput {
 public:
  static std::unique_ptr<ChatOutput> Create(const ChatOutputOptions& options);
  virtual ~ChatOutput() = default;

  using Events = std::vector<OutputEvent>;
  // Appends what is final with the next piece of text.
  void Push(std::string_view text, Events* events);
  // Appends the rest. Call once, last.
  void Finish(Events* events);

  int num_calls() const { return num_calls_; }
  // Nothing that comes now matters: generation may end.
  bool complete() const { return complete_; }

 protected:
  explicit ChatOutput(const ChatOutputOptions& options) : options_(options) {}
  // Makes one step in held_; false when it needs more text (never at the end, but when all is done).
  virtual bool Step(bool at_end, Events* events) = 0;
  void EmitText(OutputEvent::Kind kind, std::string_view text, Events* events);
  // `id`: empty, or the model's.
  void EmitCall(const std::string& id, const std::string& name, const std::string& arguments, Events* events);

  const ChatOutputOptions options_;
  std::string held_;  // text that is in no event yet
  int num_calls_ = 0;
  bool complete_ = false;
};

// Of `text`: how many bytes at its end may be the beginning of `marker`.
size_t PartialMarker(std::string_view text, std::string_view marker);

// For ChatOutput::Create.
std::unique_ptr<ChatOutput> NewHarmonyOutput(const ChatOutputOptions& options);

}  // namespace deepshock
