// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as config.json. Whatever loads must hold what ValidateSpec promises, and must be writable.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/registry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  const auto spec = SpecFromConfig({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!spec.ok()) {
    DS_CHECK(!spec.message().empty(), "an error says something");
    DS_CHECK(spec.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  DS_CHECK(ValidateSpec(spec.value()).ok(), "a spec that loads is valid");
  const Architecture* architecture = FindArchitecture(spec.value().architecture);
  DS_CHECK(architecture != nullptr, "a spec names its row");
  const auto divisors = RopeDivisors(spec.value().rope);
  DS_CHECK(divisors.empty() || divisors.size() == static_cast<size_t>(spec.value().rope.dims / 2),
           "one a pair");
  return 0;
}
