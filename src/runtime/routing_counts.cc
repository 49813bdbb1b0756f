// SPDX-License-Identifier: Apache-2.0
#include "runtime/routing_counts.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/kv_cache.h"

namespace deepshock {
namespace {

constexpr int64_t kPassTokens = 512;  // of one forward pass, and most of one sequence in it

// Adds the rows of a pass to the half that their sequence belongs to.
class HalvesObserver final : public ForwardObserver {
 public:
  explicit HalvesObserver(const RouterSpec& spec)
      : scale_(spec.scale), halves_(spec.num_experts, spec.top_k) {}

  // What the rows of the next pass are: for each chunk its rows and its half.
  struct Rows {
    int64_t count = 0;
    int half = 0;
  };
  void Expect(std::vector<Rows> rows) { rows_ = std::move(rows); }
  RoutingHalves Take() { return std::move(halves_); }

  void OnRouting(const RoutingView& routing) override {
    size_t begin = 0;
    for (const Rows& rows : rows_) {
      const auto count = static_cast<size_t>(rows.count * routing.num_chosen);
      halves_.Half(rows.half).Add(routing.layer, routing.experts.subspan(begin, count),
                                  routing.weights.subspan(begin, count), scale_);
      begin += count;
    }
    DS_CHECK(begin == routing.experts.size(), "every row is some sequence's");
  }

 private:
  double scale_;
  RoutingHalves halves_;
  std::vector<Rows> rows_;
};

// How many of the sequences fill a pass, at least one.
size_t SequencesOfPass(std::span<const TokenSequence> sequences) {
  size_t n = 1;
  auto tokens = static_cast<int64_t>(sequences[0].tokens.size());
  while (n < sequences.size()) {
    tokens += static_cast<int64_t>(sequences[n].tokens.size());
    if (tokens > kPassTokens) break;
    ++n;
  }
  return n;
}

}  // namespace

Result<RoutingHalves> CountRouting(const Model& model, Compute& compute,
                                   std::span<const TokenSequence> sequences, KvType kv_type,
                                   const std::function<bool(int64_t, int64_t)>& progress) {
  const RouterSpec& router = model.spec().router;
  if (router.num_experts == 0) return Fail("expected a model with experts, found a dense one");
  int64_t total = 0, done = 0;
  for (const TokenSequence& s : sequences) total += static_cast<int64_t>(s.tokens.size());
  const bool one_record = sequences.empty() || sequences.front().record == sequences.back().record;

  HalvesObserver observer(router);
  ForwardOutput output;
  for (size_t first = 0; first < sequences.size();) {
    const auto batch = sequences.subspan(first, SequencesOfPass(sequences.subspan(first)));
    std::vector<std::unique_ptr<KvCache>> states;
    for (const TokenSequence& s : batch) {
      const auto length = static_cast<int64_t>(s.tokens.size());
      states.push_back(std::make_unique<KvCache>(model.state_spec(kv_type), length));
      DS_RETURN_IF_ERROR(states.back()->Reserve(length));
    }
    const auto longest = std::max_element(batch.begin(), batch.end(), [](const auto& a, const auto& b) {
                           return a.tokens.size() < b.tokens.size();
                         })->tokens.size();
    for (size_t begin = 0; begin < longest; begin += kPassTokens) {
      if (progress && !progress(done, total)) return Fail("interrupted after {} of {} tokens", done, total);
      std::vector<SequenceChunk> chunks;
      std::vector<HalvesObserver::Rows> rows;
      for (size_t i = 0; i < batch.size(); ++i) {
        const std::span<const int32_t> tokens(batch[i].tokens);
        if (begin >= tokens.size()) continue;
        const auto part = tokens.subspan(begin, std::min<size_t>(kPassTokens, tokens.size() - begin));
        const int64_t turn = one_record ? static_cast<int64_t>(first + i) : batch[i].record;
        chunks.push_back({states[i]->view(), part, false});
        rows.push_back({static_cast<int64_t>(part.size()), HalfOf(turn)});
        done += rows.back().count;
      }
      observer.Expect(std::move(rows));
      DS_RETURN_IF_ERROR(model.Forward(compute, chunks, &observer, &output));
    }
    first += batch.size();
  }
  if (progress) progress(total, total);
  return observer.Take();
}

}  // namespace deepshock
