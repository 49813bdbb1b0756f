// SPDX-License-Identifier: Apache-2.0
#include "serve/reasoning_constraint.h"

#include <algorithm>
#include <utility>

namespace deepshock {

AfterReasoning::AfterReasoning(std::function<std::string(int32_t token)> token_bytes, int64_t vocab_size,
                               std::string closing, std::shared_ptr<TokenConstraint> inner)
    : token_bytes_(std::move(token_bytes)),
      vocab_size_(vocab_size),
      closing_(std::move(closing)),
      inner_(std::move(inner)) {}

void AfterReasoning::Allowed(std::span<uint32_t> mask) {
  if (closed_) return inner_->Allowed(mask);
  std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  const int64_t tokens_in_last = vocab_size_ % 32;
  if (tokens_in_last != 0 && !mask.empty()) mask.back() = (uint32_t{1} << tokens_in_last) - 1;
}

bool AfterReasoning::Accept(int32_t token) {
  if (closed_) return inner_->Accept(token);
  tail_ += token_bytes_(token);
  closed_ = tail_.find(closing_) != std::string::npos;
  if (tail_.size() >= closing_.size()) tail_.erase(0, tail_.size() - closing_.size() + 1);
  return true;
}

}  // namespace deepshock
