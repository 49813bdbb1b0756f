// SPDX-License-Identifier: Apache-2.0
// The chat page at /, and the OpenAPI document at /openapi.json.
#include "serve/embedded_file.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

// The page runs its own script, talks to its own server, and is shown in no other page.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri "
    "'none'; "
    "form-action 'none'; frame-ancestors 'none'";

void SendFile(std::string_view name, const char* content_type, Call& call) {
  for (const EmbeddedFile& file : ServeFiles()) {
    if (file.name != name) continue;
    return call.Send({200,
                      std::string(file.text),
                      content_type,
                      {{"Content-Security-Policy", kPolicy},
                       {"X-Content-Type-Options", "nosniff"},
                       {"Referrer-Policy", "no-referrer"},
                       {"Cache-Control", "no-cache"}}});
  }
}

}  // namespace

void HandlePage(Server&, std::shared_ptr<Call> call) {
  const std::string path = call->request().path;
  if (path == "/page.css") return SendFile("page.css", "text/css; charset=utf-8", *call);
  if (path == "/page.js") return SendFile("page.js", "text/javascript; charset=utf-8", *call);
  SendFile("index.html", "text/html; charset=utf-8", *call);
}

void HandleOpenApi(Server&, std::shared_ptr<Call> call) {
  SendFile("openapi.json", "application/json", *call);
}

}  // namespace deepshock
