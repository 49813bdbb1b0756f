// SPDX-License-Identifier: Apache-2.0
// Access: who may use the server, and how much. Keys are kept as SHA-256 digests and all of them compared in
// constant time; an address that keeps guessing is refused for a while. Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "serve/api_error.h"

namespace deepshock {

struct KeyLimits {
  double requests_per_minute = 0;  // 0: any number
  int max_concurrent = 0;          // requests under way; 0: any number
};

struct ApiKey {
  std::string name;  // for the log
  std::array<uint8_t, 32> digest{};
  KeyLimits limits;
  bool admin = false;  // may load models
};

struct AccessOptions {
  std::vector<ApiKey> keys;  // none: open to all
  KeyLimits open;            // for all together where there are no keys
};

// `secret` as clients send it. At least 8 characters.
Result<ApiKey> MakeApiKey(std::string name, std::string_view secret);
// {"keys": [{"name", "key" or "sha256", "requests_per_minute", "max_concurrent", "admin"}]}
Result<std::vector<ApiKey>> ReadKeysFile(const std::string& path);

class Access : public std::enable_shared_from_this<Access> {
 public:
  using Clock = std::chrono::steady_clock;
  // Counts as one request under way while it lives.
  class Lease;

  // Owned by a shared_ptr, since leases hold it.
  explicit Access(AccessOptions options);
  ~Access();

  // Whose `secret` this is (nullptr: nobody's, or no keys are asked for).
  struct Caller {
    const ApiKey* key = nullptr;
    size_t index = 0;  // of its limits
  };
  // 401 without the right key, 429 for an address with too many wrong ones lately.
  ApiStatus Identify(std::string_view secret, const std::string& remote, Clock::time_point now,
                     Caller* caller);
  // 429 over the caller's limits. `retry_after`: seconds, set with it.
  ApiStatus Enter(const Caller& caller, Clock::time_point now, std::unique_ptr<Lease>* lease,
                  int* retry_after);
  bool is_open() const { return options_.keys.empty(); }

 private:
  struct Usage {
    double tokens = 0;  // requests that may still be sent now: a bucket that fills with the rate
    Clock::time_point filled{};
    int under_way = 0;
  };
  struct Guesses {
    int count = 0;
    Clock::time_point since{};
  };
  const KeyLimits& LimitsOf(size_t index) const;

  AccessOptions options_;
  std::mutex mutex_;
  std::vector<Usage> usage_;  // [keys], or one for all
  std::unordered_map<std::string, Guesses> guesses_;
};

class Access::Lease {
 public:
  Lease(std::shared_ptr<Access> access, size_t index) : access_(std::move(access)), index_(index) {}
  ~Lease() {
    const std::lock_guard lock(access_->mutex_);
    --access_->usage_[index_].under_way;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

 private:
  std::shared_ptr<Access> access_;  // an answer may outlive the server
  size_t index_;
};

}  // namespace deepshock
