// SPDX-License-Identifier: Apache-2.0
// A constraint on an answer that begins after the model's reasoning: until the closing text has been written
// anything may come, then what `inner` allows. Runs on the engine's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "deepshock/generation.h"

namespace deepshock {

class AfterReasoning final : public TokenConstraint {
 public:
  AfterReasoning(std::function<std::string(int32_t token)> token_bytes, int64_t vocab_size,
                 std::string closing, std::shared_ptr<TokenConstraint> inner);
  void Allowed(std::span<uint32_t> mask) override;
  bool Accept(int32_t token) override;

 private:
  const std::function<std::string(int32_t token)> token_bytes_;
  const int64_t vocab_size_;
  const std::string closing_;
  const std::shared_ptr<TokenConstraint> inner_;
  std::string tail_;  // the end of the reasoning so far, shorter than `closing_`
  bool closed_ = false;
};

}  // namespace deepshock
