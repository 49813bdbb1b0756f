// SPDX-License-Identifier: Apache-2.0
// Answers: from a checked request to running generations and back. Every API that generates comes down to
// StartAnswer with an AnswerWriter of its own, which turns what comes out into that API's form.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "deepshock/generation.h"
#include "serve/call.h"
#include "serve/chat_request.h"

namespace deepshock {

// Called on the engine's thread, one call at a time; must be quick. It writes to the call's reply, and ends
// it in Finish or Fail, whichever comes, once.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // A token of one choice. False: this choice may end here; Choice follows.
  virtual bool Token(size_t choice, const StreamedToken& token) = 0;
  // A choice has come to its end; `result` without an error.
  virtual void Choice(size_t choice, GenerationResult result) = 0;
  // All choices have.
  virtual void Finish() = 0;
  // The request failed; no more calls follow. Some of the answer may have been sent.
  virtual void Fail(const ApiError& error) = 0;
};

// What all choices of an answer have in common.
struct AnswerPlan {
  std::vector<std::vector<int32_t>> prompts;
  bool keep_special_tokens = false;
  bool embed = false;  // GenerationRequest::embed
  // One for each choice; empty: none.
  std::function<Result<std::shared_ptr<TokenConstraint>>()> constraint;
};

// Runs request.num_choices generations of each prompt: choice p * num_choices + i is number i of prompt p.
// With a seed the first uses it and each further one the next higher. When the client leaves, all are
// cancelled. An error here was found before anything ran; `writer` is not called then.
ApiStatus StartAnswer(std::shared_ptr<Call> call, std::shared_ptr<ServedModel> model,
                      const ChatRequest& request, AnswerPlan plan, std::shared_ptr<AnswerWriter> writer);

// What an engine's error is to a client.
ApiError ErrorOf(const GenerationResult& result);

}  // namespace deepshock
