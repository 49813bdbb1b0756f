// SPDX-License-Identifier: Apache-2.0
// Route traces: any bytes give passes whose ids are in range, or an error.
#include "base/check.h"
#include "experts/trace.h"
#include "tests/fuzz/memory_file.h"

namespace {

class CheckingSink final : public deepshock::RoutingSink {
 public:
  explicit CheckingSink(const deepshock::TraceHeader& header) : header_(header) {}
  void OnStep(const deepshock::RoutingStep& step) override {
    DS_CHECK(step.layers.size() == header_.shape.layers.size(), "every layer");
    for (const deepshock::RoutedRow& row : step.rows) {
      DS_CHECK(row.position >= 0 && row.token >= 0, "not negative");
      for (const deepshock::LayerRouting& layer : step.layers) {
        for (const int32_t expert : step.Experts(layer, row))
          DS_CHECK(expert >= -1 && expert < header_.shape.num_experts, "an expert of the model");
        deepshock::ReadAll(step.Weights(layer, row).data(), step.Weights(layer, row).size_bytes());
      }
    }
  }

 private:
  const deepshock::TraceHeader& header_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  static MemoryFile file;
  file.Set(data, size);
  const auto reader = TraceReader::Open(file.path());
  if (!reader.ok()) return 0;
  CheckingSink sink((*reader)->header());
  (void)(*reader)->Replay(sink);
  return 0;
}
