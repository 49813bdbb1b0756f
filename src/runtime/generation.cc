// SPDX-License-Identifier: Apache-2.0
#include "deepshock/generation.h"

namespace deepshock {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

double GenerationResult::TokensPerSecond() const {
  if (tokens.size() < 2 || decode_ms <= 0) return 0;
  return static_cast<double>(tokens.size() - 1) / (decode_ms / 1000);
}

}  // namespace deepshock
