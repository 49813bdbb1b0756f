// SPDX-License-Identifier: Apache-2.0
// Any bytes as a score file of Expert-Specialized Fine-Tuning: an error of one line, or counts that add up.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "experts/esft.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  static MemoryFile memory;
  memory.Set(data, size);
  RoutingHalves counts(8, 2);
  const Status status = AddScoreFile(memory.path(), 1, &counts);
  if (!status.ok()) {
    DS_CHECK(status.message().find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  const ExpertProfile profile = counts.Both().Profile();
  DS_CHECK(profile.layers.size() <= 1, "one layer");
  for (const LayerProfile& layer : profile.layers) {
    double sum = 0;
    for (const double share : layer.token) sum += share;
    DS_CHECK(std::abs(sum - 1) < 1e-9, "shares sum to 1");
    for (const double gate : layer.gate) DS_CHECK(std::isfinite(gate) && gate >= 0, "a mean of weights");
  }
  EsftSummaryJson(profile);
  EsftConfigJson(SelectExperts(profile, SelectionRule::kEsftGate, 0.5));
  return 0;
}
