// SPDX-License-Identifier: Apache-2.0
// DS_CHECK aborts on a bug in this program. It is never used for what a file, a user or a peer can cause.
#pragma once

namespace deepshock {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const char* message);
}

#define DS_CHECK(condition, message)                                     \
  do {                                                                   \
    if (!(condition)) [[unlikely]]                                       \
      ::deepshock::CheckFailed(__FILE__, __LINE__, #condition, message); \
  } while (0)
