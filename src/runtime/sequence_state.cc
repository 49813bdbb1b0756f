// SPDX-License-Identifier: Apache-2.0
#include "runtime/sequence_state.h"

#include <algorithm>

namespace deepshock {

void MtpTrack::Append(std::span<const float> rows, int64_t n, int64_t width) {
  const int64_t kept = std::min(n, kMaxWaiting);
  if (num_waiting + kept > kMaxWaiting) {
    // Half of what waits goes at once, so that moving the rest stays cheap.
    const int64_t left = std::min(num_waiting, std::min(kMaxWaiting / 2, kMaxWaiting - kept));
    hidden.erase(hidden.begin(), hidden.begin() + (num_waiting - left) * width);
    num_waiting = left;
    num_rows = 0;
  }
  if (kept < n) num_rows = 0;
  hidden.insert(hidden.end(), rows.begin() + (n - kept) * width, rows.begin() + n * width);
  num_waiting += kept;
}

void MtpTrack::Drop(int64_t count) {
  const int64_t waiting = std::max<int64_t>(0, num_waiting - count);
  num_rows = std::max<int64_t>(0, num_rows - (count - (num_waiting - waiting)));
  if (num_waiting > 0)
    hidden.resize(hidden.size() / static_cast<size_t>(num_waiting) * static_cast<size_t>(waiting));
  num_waiting = waiting;
}

void SequenceState::Truncate(int64_t length) {
  // A few groups are soon needed again.
  constexpr int64_t kKept = 512;  // tokens
  mtp.Drop(kv.length() - length);
  kv.Truncate(length);
  if (kv.capacity() - length > kKept) kv.Shrink();
  tokens.resize(static_cast<size_t>(length));
}

}  // namespace deepshock
