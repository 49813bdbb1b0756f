// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace deepshock {

void CheckFailed(const char* file, int line, const char* condition, const char* message) {
  std::fprintf(stderr, "bug in deepshock: %s:%d: %s: %s\n", file, line, condition, message);
  std::abort();
}

}  // namespace deepshock
