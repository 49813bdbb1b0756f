// SPDX-License-Identifier: Apache-2.0
#include "runtime/evaluate.h"

#include <algorithm>
#include <cmath>

#include "runtime/kv_cache.h"

namespace deepshock {
namespace {
constexpr int64_t kMaxLogits = 16 << 20;  // floats held at once: bounds memory for large vocabularies

class DropCounter final : public ForwardObserver {
 public:
  explicit DropCounter(NllResult* result) : result_(result) {}
  void OnRouting(const RoutingView& routing) override {
    result_->num_selections += static_cast<int64_t>(routing.experts.size());
    result_->num_dropped += std::ranges::count(routing.experts, -1);
  }

 private:
  NllResult* result_;
};
}  // namespace

double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float value : logits) sum += std::exp(value - max);
  return max + std::log(sum) - logits[static_cast<size_t>(target)];
}

Result<NllResult> MeanNll(const Model& model, Compute& compute, std::span<const int32_t> tokens,
                          int64_t length, const std::function<void(int64_t, int64_t)>& progress,
                          KvType kv_type, const RoutingControl* control) {
  const auto total = static_cast<int64_t>(tokens.size());
  if (length < 2) return Fail("length: expected at least 2 tokens, found {}", length);
  if (total == 0 || total % length != 0) {
    return Fail("tokens: expected a multiple of length {}, found {} tokens", length, total);
  }
  const int64_t vocab = model.spec().vocab_size, num_sequences = total / length;
  const int64_t chunk_tokens = std::clamp<int64_t>(kMaxLogits / vocab, 1, 512);
  NllResult result;
  DropCounter drops(&result);
  double sum = 0;
  for (int64_t s = 0; s < num_sequences; ++s) {
    if (progress) progress(s, num_sequences);
    KvCache cache(model.state_spec(kv_type), length);
    const std::span<const int32_t> sequence =
        tokens.subspan(static_cast<size_t>(s * length), static_cast<size_t>(length));
    ForwardOutput output;
    for (int64_t begin = 0; begin < length; begin += chunk_tokens) {
      const int64_t count = std::min(chunk_tokens, length - begin);
      DS_RETURN_IF_ERROR(cache.Reserve(begin + count));
      const SequenceChunk chunk{cache.view(),
                                sequence.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
                                true, control};
      ForwardObserver* observer = control != nullptr ? &drops : nullptr;
      DS_RETURN_IF_ERROR(model.Forward(compute, {&chunk, 1}, observer, &output));
      for (int64_t i = 0; i < count && begin + i + 1 < length; ++i) {
        const auto logits =
            std::span(output.logits).subspan(static_cast<size_t>(i * vocab), static_cast<size_t>(vocab));
        sum += NegativeLogLikelihood(logits, sequence[static_cast<size_t>(begin + i + 1)]);
        ++result.num_tokens;
      }
    }
  }
  if (progress) progress(num_sequences, num_sequences);
  result.nll = sum / static_cast<double>(result.num_tokens);
  return result;
}

}  // namespace deepshock
