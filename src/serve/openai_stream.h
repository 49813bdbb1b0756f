// SPDX-License-Identifier: Apache-2.0
// OpenAiStream: the server-sent events of OpenAI's completions. Nothing is sent before the first, so that an
// error until then has a status of its own. One thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "serve/answer_json.h"
#include "serve/call.h"

namespace deepshock {

class OpenAiStream {
 public:
  // `head`: how each chunk begins, up to its choices; `with_usage`: a chunk with the usage comes last.
  OpenAiStream(std::shared_ptr<Call> call, std::string head, bool with_usage)
      : call_(std::move(call)), head_(std::move(head)), with_usage_(with_usage) {}

  void Begin();
  // `choices` [{...}, ...] and what follows them in the object, as JSON without the braces around.
  void Write(std::string_view choices, std::string_view more = "");
  void Finish(const UsageCount& usage);
  void Fail(const ApiError& error);

 private:
  std::shared_ptr<Call> call_;
  const std::string head_;
  const bool with_usage_;
  bool begun_ = false;
};

}  // namespace deepshock
