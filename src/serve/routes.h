// SPDX-License-Identifier: Apache-2.0
// Routes: what the server answers, one function each in a file of its own. A new route is a line in
// routes.cc, a function here, and an entry in the OpenAPI document (a test compares the two).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/call.h"
#include "serve/server.h"

namespace deepshock {

struct Route {
  const char* method;
  const char* path;
  void (*handle)(Server& server, std::shared_ptr<Call> call);
  // Who may: anybody, who has a key, who has an admin's key.
  enum class Who { kAnybody, kUser, kAdmin } who = Who::kUser;
  // Counts against the key's limits.
  bool limited = false;
  ErrorStyle error_style = ErrorStyle::kOpenAi;
};
const std::vector<Route>& Routes();

// chat_completions.cc, completions.cc
void HandleChatCompletions(Server& server, std::shared_ptr<Call> call);
void HandleCompletions(Server& server, std::shared_ptr<Call> call);
// responses.cc, messages.cc
void HandleResponses(Server& server, std::shared_ptr<Call> call);
void HandleMessages(Server& server, std::shared_ptr<Call> call);
void HandleCountTokens(Server& server, std::shared_ptr<Call> call);
// embeddings.cc
void HandleEmbeddings(Server& server, std::shared_ptr<Call> call);
// tokenize.cc
void HandleTokenize(Server& server, std::shared_ptr<Call> call);
void HandleDetokenize(Server& server, std::shared_ptr<Call> call);
// models.cc
void HandleModels(Server& server, std::shared_ptr<Call> call);
void HandleLoadModel(Server& server, std::shared_ptr<Call> call);
// page.cc
void HandlePage(Server& server, std::shared_ptr<Call> call);
void HandleOpenApi(Server& server, std::shared_ptr<Call> call);
// status.cc
void HandleHealth(Server& server, std::shared_ptr<Call> call);
void HandleReady(Server& server, std::shared_ptr<Call> call);
void HandleVersion(Server& server, std::shared_ptr<Call> call);
void HandleMetrics(Server& server, std::shared_ptr<Call> call);

}  // namespace deepshock
