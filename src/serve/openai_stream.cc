// SPDX-License-Identifier: Apache-2.0
#include "serve/openai_stream.h"

#include <fmt/format.h>

namespace deepshock {

void OpenAiStream::Begin() {
  if (!std::exchange(begun_, true)) call_->BeginEvents();
}

void OpenAiStream::Write(std::string_view choices, std::string_view more) {
  Begin();
  call_->reply().Write(fmt::format("data: {}\"choices\": [{}]{}}}\n\n", head_, choices, more));
}

void OpenAiStream::Finish(const UsageCount& usage) {
  Begin();
  if (with_usage_) Write("", fmt::format(R"(, "usage": {})", UsageJson(usage)));
  call_->reply().Write("data: [DONE]\n\n");
  call_->reply().End();
}

void OpenAiStream::Fail(const ApiError& error) {
  if (!begun_) return call_->SendError(error);
  call_->NoteError(error);
  call_->reply().Write("data: " + OpenAiErrorBody(error) + "\n\n");
  call_->reply().End();
}

}  // namespace deepshock
