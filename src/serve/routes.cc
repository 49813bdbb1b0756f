// SPDX-License-Identifier: Apache-2.0
#include "serve/routes.h"

namespace deepshock {

const std::vector<Route>& Routes() {
  using Who = Route::Who;
  static const std::vector<Route> routes = {
      {"POST", "/v1/chat/completions", HandleChatCompletions, Who::kUser, true},
      {"POST", "/v1/completions", HandleCompletions, Who::kUser, true},
      {"POST", "/v1/responses", HandleResponses, Who::kUser, true},
      {"POST", "/v1/messages", HandleMessages, Who::kUser, true, ErrorStyle::kAnthropic},
      {"POST", "/v1/messages/count_tokens", HandleCountTokens, Who::kUser, true, ErrorStyle::kAnthropic},
      {"POST", "/v1/embeddings", HandleEmbeddings, Who::kUser, true},
      {"POST", "/tokenize", HandleTokenize, Who::kUser, true},
      {"POST", "/detokenize", HandleDetokenize, Who::kUser, true},
      {"GET", "/v1/models", HandleModels},
      {"GET", "/v1/models/*", HandleModels},
      {"POST", "/v1/admin/models", HandleLoadModel, Who::kAdmin},
      {"GET", "/", HandlePage, Who::kAnybody},
      {"GET", "/page.css", HandlePage, Who::kAnybody},
      {"GET", "/page.js", HandlePage, Who::kAnybody},
      {"GET", "/openapi.json", HandleOpenApi, Who::kAnybody},
      {"GET", "/health", HandleHealth, Who::kAnybody},
      {"GET", "/ready", HandleReady, Who::kAnybody},
      {"GET", "/version", HandleVersion, Who::kAnybody},
      {"GET", "/metrics", HandleMetrics},
  };
  return routes;
}

}  // namespace deepshock
