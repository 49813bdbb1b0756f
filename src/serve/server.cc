// SPDX-License-Identifier: Apache-2.0
#include "serve/server.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "serve/answer_json.h"
#include "serve/routes.h"

namespace deepshock {
namespace {

// Bytes of a body that are parsed and made tokens in some tens of milliseconds; more is done aside.
constexpr size_t kLargeBody = 128u << 10;

bool Matches(const Route& route, std::string_view path) {
  const std::string_view pattern = route.path;
  if (pattern.ends_with('*')) return path.starts_with(pattern.substr(0, pattern.size() - 1));
  return path == pattern;
}

// The route, or an error: 404, or 405 with the methods that there are in `allowed`.
ApiStatus FindRoute(const HttpRequest& request, const Route** route, std::string* allowed) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  *route = nullptr;
  for (const Route& candidate : Routes()) {
    if (!Matches(candidate, request.path)) continue;
    if (candidate.method == method) {
      *route = &candidate;
      return {};
    }
    *allowed += (allowed->empty() ? "" : ", ") + std::string(candidate.method);
  }
  ApiError error;
  if (allowed->empty()) {
    error = InvalidField("path", "nothing is at {}; /openapi.json tells what there is", request.path);
    error.status = 404;
  } else {
    error = InvalidField("method", "expected {} at {}, found {}", *allowed, request.path, request.method);
    error.status = 405;
  }
  error.param.clear();
  error.code = error.status == 404 ? "not_found" : "method_not_allowed";
  return error;
}

std::string_view Secret(const HttpRequest& request) {
  std::string_view value = request.Header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  if (value.size() > kBearer.size() &&
      std::equal(kBearer.begin(), kBearer.end(), value.begin(),
                 [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); })) {
    value.remove_prefix(kBearer.size());
    return value;
  }
  return request.Header("x-api-key");  // Anthropic's clients
}

bool IsLoopback(std::string_view remote) {
  return remote == "::1" || remote.starts_with("127.") || remote.starts_with("::ffff:127.");
}

// "http://[::1]:8080" -> "[::1]:8080"
std::string_view HostOf(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
}

bool IsLocalHost(std::string_view host) {
  if (host.starts_with('[')) return host.starts_with("[::1]");
  const std::string_view name = host.substr(0, host.find(':'));
  return name.empty() || name == "localhost" || name.starts_with("127.");
}

ApiError Forbidden(std::string message) { return {403, std::move(message), "", "forbidden"}; }

void Count(ServerCounts& counts, const CallLog& entry) {
  ++counts.requests;
  if (entry.status >= 500 || (!entry.error.empty() && entry.status < 400)) ++counts.errors;
  if (entry.status >= 400 && entry.status < 500) ++counts.refused;
  if (entry.client_left) ++counts.clients_left;
  counts.prompt_tokens += entry.prompt_tokens;
  counts.cached_prompt_tokens += entry.cached_prompt_tokens;
  counts.output_tokens += entry.output_tokens;
  --counts.under_way;
}

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)), access_(std::make_shared<Access>(options_.access)) {}

Server::~Server() = default;

HttpHeaders Server::CorsHeaders(const HttpRequest& request) const {
  HttpHeaders headers = {{"X-Content-Type-Options", "nosniff"}};
  const std::string origin(request.Header("origin"));
  if (origin.empty()) return headers;
  const std::vector<std::string>& allowed = options_.cors_origins;
  const bool any = std::find(allowed.begin(), allowed.end(), "*") != allowed.end();
  if (!any && std::find(allowed.begin(), allowed.end(), origin) == allowed.end()) return headers;
  headers.emplace_back("Access-Control-Allow-Origin", any ? "*" : origin);
  headers.emplace_back("Access-Control-Expose-Headers", "x-request-id");
  if (!any) headers.emplace_back("Vary", "Origin");
  return headers;
}

ApiStatus Server::Identify(const HttpRequest& request, Access::Caller* caller) {
  return access_->Identify(Secret(request), request.remote, Access::Clock::now(), caller);
}

std::optional<HttpResponse> Server::Refuse(const HttpRequest& head) {
  const Route* route = nullptr;
  std::string allowed;
  const ApiStatus missing = FindRoute(head, &route, &allowed);
  const auto refuse = [&](const ApiError& error) {
    HttpHeaders headers = CorsHeaders(head);
    if (error.status == 405) headers.emplace_back("Allow", allowed);
    HttpResponse response = ErrorResponse(error, route != nullptr ? route->error_style : ErrorStyle::kOpenAi,
                                          "", std::move(headers));
    ++counts_->requests;
    ++counts_->refused;
    if (options_.log) {
      CallLog entry;
      entry.remote = head.remote;
      entry.method = head.method;
      entry.path = head.path;
      entry.status = error.status;
      entry.error = error.message;
      options_.log(entry);
    }
    return response;
  };
  if (head.method == "OPTIONS") return std::nullopt;
  if (missing) {
    if (head.method == "GET" || head.method == "HEAD") return std::nullopt;
    return refuse(*missing);
  }
  if (route->who == Route::Who::kAnybody) return std::nullopt;

  // Pages of other origins may not use a server that asks for no key, whatever their browsers would hide of
  // the answers; nor may a foreign name that has come to mean this machine.
  const std::string_view origin = head.Header("origin"), host = head.Header("host");
  if (!origin.empty() && HostOf(origin) != host) {
    const std::vector<std::string>& origins = options_.cors_origins;
    if (std::find(origins.begin(), origins.end(), "*") == origins.end() &&
        std::find(origins.begin(), origins.end(), origin) == origins.end()) {
      return refuse(Forbidden("pages of this origin may not use the server; --cors allows them"));
    }
  }
  if (access_->is_open() && IsLoopback(head.remote) && !IsLocalHost(host)) {
    return refuse(Forbidden("expected localhost as the host of a server without API keys"));
  }
  Access::Caller caller;
  if (const ApiStatus error = Identify(head, &caller)) return refuse(*error);
  if (route->who == Route::Who::kAdmin &&
      !(caller.key != nullptr ? caller.key->admin : IsLoopback(head.remote))) {
    return refuse(Forbidden(caller.key != nullptr ? "expected an API key that may administer the server"
                                                  : "expected an API key, or a client on the same machine"));
  }
  return std::nullopt;
}

void Server::Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  const Route* route = nullptr;
  std::string allowed;
  const ApiStatus missing = FindRoute(request, &route, &allowed);
  Access::Caller caller;
  const bool known = route != nullptr && route->who != Route::Who::kAnybody && !Identify(request, &caller);
  HttpHeaders headers = CorsHeaders(request);
  const bool preflight = request.method == "OPTIONS";
  ++counts_->under_way;
  auto call = std::make_shared<Call>(std::move(request), std::move(reply), NewId("req-"), std::move(headers),
                                     [counts = counts_, log = options_.log](const CallLog& entry) {
                                       Count(*counts, entry);
                                       if (log) log(entry);
                                     });
  if (preflight) {
    return call->Send(
        {204,
         "",
         "",
         {{"Access-Control-Allow-Methods", "GET, POST"},
          {"Access-Control-Allow-Headers", "authorization, content-type, x-api-key, anthropic-version"},
          {"Access-Control-Max-Age", "3600"}}});
  }
  if (missing) {
    return call->SendError(*missing, allowed.empty() ? HttpHeaders() : HttpHeaders{{"Allow", allowed}});
  }
  call->error_style = route->error_style;
  if (known) call->key_name = caller.key != nullptr ? caller.key->name : "";
  if (route->limited) {
    int retry_after = 0;
    if (const ApiStatus error = access_->Enter(caller, Access::Clock::now(), &call->lease, &retry_after)) {
      return call->SendError(*error, {{"Retry-After", std::to_string(retry_after)}});
    }
  }
  if (call->request().body.size() <= kLargeBody) return route->handle(*this, std::move(call));
  RunAside([this, route, call = std::move(call)]() mutable { route->handle(*this, std::move(call)); });
}

HttpResponse Server::Fault(int status, const std::string& message) {
  return {status, OpenAiErrorBody({status, message, "", ""})};
}

}  // namespace deepshock
