// SPDX-License-Identifier: Apache-2.0
#include "serve/access.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace deepshock {
namespace {

constexpr size_t kMinSecret = 8;  // characters
constexpr size_t kMaxKeysFileBytes = 4u << 20;
constexpr int kMaxGuesses = 20;  // wrong keys of an address in kGuessWindow
constexpr std::chrono::seconds kGuessWindow{60};
constexpr size_t kMaxAddresses = 10'000;  // remembered for guessing

std::array<uint8_t, 32> Digest(std::string_view secret) {
  std::array<uint8_t, 32> digest{};
  SHA256(reinterpret_cast<const uint8_t*>(secret.data()), secret.size(), digest.data());
  return digest;
}

Result<std::array<uint8_t, 32>> ParseHex(const std::string& text) {
  std::array<uint8_t, 32> digest{};
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  if (text.size() != 64)
    return Fail("sha256: expected 64 hexadecimal digits, found {} characters", text.size());
  for (size_t i = 0; i < 32; ++i) {
    const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return Fail("sha256: expected hexadecimal digits, found others");
    digest[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

Result<ApiKey> ReadKey(const Json& json) {
  if (!json.is_object()) return Fail("expected an object, found {}", json.type_name());
  ApiKey key;
  std::string secret, digest;
  for (const auto& [name, value] : json.items()) {
    if (name == "name" && value.is_string()) {
      key.name = value.get<std::string>();
    } else if (name == "key" && value.is_string()) {
      secret = value.get<std::string>();
    } else if (name == "sha256" && value.is_string()) {
      digest = value.get<std::string>();
    } else if (name == "requests_per_minute" && value.is_number() && value.get<double>() >= 0) {
      key.limits.requests_per_minute = value.get<double>();
    } else if (name == "max_concurrent" && value.is_number_unsigned() && value.get<uint64_t>() < 1'000'000) {
      key.limits.max_concurrent = value.get<int>();
    } else if (name == "admin" && value.is_boolean()) {
      key.admin = value.get<bool>();
    } else {
      return Fail(
          "\"{}\": expected name, key or sha256 (strings), requests_per_minute, max_concurrent (0 or more), "
          "admin "
          "(true or false), found something else",
          name);
    }
  }
  if (key.name.empty()) return Fail("name: expected one, found none");
  if (secret.empty() == digest.empty()) return Fail("{}: expected either key or sha256", key.name);
  if (!secret.empty()) {
    DS_ASSIGN(const ApiKey made, MakeApiKey(key.name, secret));
    key.digest = made.digest;
  } else {
    DS_ASSIGN(key.digest, ParseHex(digest));
  }
  return key;
}

}  // namespace

Result<ApiKey> MakeApiKey(std::string name, std::string_view secret) {
  if (secret.size() < kMinSecret) {
    return Fail("API key {}: expected at least {} characters, found {}", name, kMinSecret, secret.size());
  }
  ApiKey key;
  key.name = std::move(name);
  key.digest = Digest(secret);
  return key;
}

Result<std::vector<ApiKey>> ReadKeysFile(const std::string& path) {
  DS_ASSIGN(const Json json, ReadJsonFile(path, kMaxKeysFileBytes));
  if (!json.is_object() || !json.contains("keys") || !json["keys"].is_array() || json["keys"].empty()) {
    return Fail("{}: expected {{\"keys\": [...]}} with at least one key", path);
  }
  std::vector<ApiKey> keys;
  for (const Json& entry : json["keys"]) {
    Result<ApiKey> key = ReadKey(entry);
    if (!key.ok()) return key.status().WithContext(fmt::format("{}: keys[{}]", path, keys.size()));
    keys.push_back(std::move(key).value());
  }
  return keys;
}

Access::Access(AccessOptions options) : options_(std::move(options)) {
  usage_.resize(std::max<size_t>(options_.keys.size(), 1));
}
Access::~Access() = default;

const KeyLimits& Access::LimitsOf(size_t index) const {
  return options_.keys.empty() ? options_.open : options_.keys[index].limits;
}

ApiStatus Access::Identify(std::string_view secret, const std::string& remote, Clock::time_point now,
                           Caller* caller) {
  *caller = {};
  if (options_.keys.empty()) return {};
  {
    const std::lock_guard lock(mutex_);
    const auto guesses = guesses_.find(remote);
    if (guesses != guesses_.end() && now - guesses->second.since > kGuessWindow) {
      guesses_.erase(guesses);
    } else if (guesses != guesses_.end() && guesses->second.count >= kMaxGuesses) {
      return ApiError{429, "too many wrong API keys from this address; wait a minute", "",
                      "too_many_wrong_keys"};
    }
  }
  const auto digest = Digest(secret);
  for (size_t i = 0; i < options_.keys.size(); ++i) {
    const ApiKey& key = options_.keys[i];
    if (CRYPTO_memcmp(digest.data(), key.digest.data(), digest.size()) == 0) *caller = {&key, i};
  }
  if (caller->key != nullptr) return {};
  if (secret.empty()) {
    return ApiError{401, "expected an API key, as \"Authorization: Bearer KEY\", found none", "",
                    "invalid_api_key"};
  }
  const std::lock_guard lock(mutex_);
  if (guesses_.size() >= kMaxAddresses) {
    std::erase_if(guesses_, [&](const auto& entry) { return now - entry.second.since > kGuessWindow; });
  }
  if (guesses_.size() < kMaxAddresses) {
    Guesses& guesses = guesses_[remote];
    if (guesses.count++ == 0) guesses.since = now;
  }
  return ApiError{401, "this API key is not one of the server's", "", "invalid_api_key"};
}

ApiStatus Access::Enter(const Caller& caller, Clock::time_point now, std::unique_ptr<Lease>* lease,
                        int* retry_after) {
  const KeyLimits& limits = LimitsOf(caller.index);
  const std::lock_guard lock(mutex_);
  Usage& usage = usage_[caller.index];
  if (limits.max_concurrent > 0 && usage.under_way >= limits.max_concurrent) {
    *retry_after = 1;
    return ApiError{429, fmt::format("requests under way: expected at most {}", limits.max_concurrent), "",
                    "concurrency_limit_exceeded"};
  }
  if (limits.requests_per_minute > 0) {
    const double most = std::max(1.0, limits.requests_per_minute);
    if (usage.filled == Clock::time_point{}) usage.tokens = most;
    const double seconds = std::chrono::duration<double>(now - usage.filled).count();
    if (usage.filled != Clock::time_point{}) {
      usage.tokens = std::min(most, usage.tokens + seconds * limits.requests_per_minute / 60);
    }
    usage.filled = now;
    if (usage.tokens < 1) {
      *retry_after =
          std::max(1, static_cast<int>(std::ceil((1 - usage.tokens) * 60 / limits.requests_per_minute)));
      return ApiError{429,
                      fmt::format("requests a minute: expected at most {:g}", limits.requests_per_minute), "",
                      "rate_limit_exceeded"};
    }
    usage.tokens -= 1;
  }
  ++usage.under_way;
  *lease = std::make_unique<Lease>(shared_from_this(), caller.index);
  return {};
}

}  // namespace deepshock
