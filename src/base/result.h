// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how everything that a file, a user or a peer can cause is reported.
// A message is one line that names the thing, what was expected and what was found.
// Bugs are not reported here: they abort through base/check.h.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"

namespace deepshock {

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  // What the message quotes may hold anything: line ends become spaces and other control characters escapes, so
  // that it stays one line.
  static Status Error(std::string message);

  bool ok() const { return !message_.has_value(); }
  // Empty for success.
  const std::string& message() const {
    static const std::string kNone;
    return message_ ? *message_ : kNone;
  }
  // The same error with "context: " in front, for example the file it was found in.
  Status WithContext(const std::string& context) const {
    return ok() ? *this : Error(context + ": " + *message_);
  }

 private:
  std::optional<std::string> message_;
};

// Fail("{}: expected {} rows, found {}", name, want, got)
template <typename... Args>
Status Fail(fmt::format_string<Args...> format, Args&&... args) {
  return Status::Error(fmt::format(format, std::forward<Args>(args)...));
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit by design
    DS_CHECK(!status_.ok(), "a Result without a value needs an error");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  const std::string& message() const { return status_.message(); }

  T& value() & {
    DS_CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  const T& value() const& {
    DS_CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  T&& value() && {
    DS_CHECK(ok(), status_.message().c_str());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // The same value, or the same error with "context: " in front.
  Result WithContext(const std::string& context) && {
    if (ok()) return std::move(*this);
    return status_.WithContext(context);
  }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace deepshock

// Returns from the calling function when `expr` (a Status) failed.
#define DS_RETURN_IF_ERROR(expr)             \
  do {                                       \
    ::deepshock::Status ds_status_ = (expr); \
    if (!ds_status_.ok()) return ds_status_; \
  } while (0)

// DS_ASSIGN(auto file, OpenFile(path)): unwraps a Result or returns its error.
#define DS_ASSIGN(lhs, expr) DS_ASSIGN_IMPL_(DS_CONCAT_(ds_result_, __LINE__), lhs, expr)
#define DS_ASSIGN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                    \
  if (!tmp.ok()) return tmp.status();   \
  lhs = std::move(tmp).value()
#define DS_CONCAT_(a, b) DS_CONCAT_IMPL_(a, b)
#define DS_CONCAT_IMPL_(a, b) a##b
