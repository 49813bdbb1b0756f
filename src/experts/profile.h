// SPDX-License-Identifier: Apache-2.0
// What a model's routers did on some text: RoutingCounts collects it, ExpertProfile is what it comes to.
// As Expert-Specialized Fine-Tuning defines them (arXiv 2407.01906): of expert e in layer l, over T tokens of
// which each chose K experts,
//   token[l][e] = times chosen / (K T)        the share of selections; sums to 1 in a layer
//   gate[l][e]  = sum of gate weights / T     0 where it was not chosen; before the routed scaling factor
// Plain values; one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "experts/expert_id.h"

namespace deepshock {

struct LayerProfile {
  int32_t layer = 0;          // counted as the model counts, dense layers included
  std::vector<double> token;  // [E]
  std::vector<double> gate;   // [E]
};

struct ExpertProfile {
  int num_experts = 0;               // E of every layer
  int top_k = 0;                     // K
  std::vector<LayerProfile> layers;  // MoE layers only, ascending

  const LayerProfile* Find(int32_t layer) const;  // null: no MoE layer
};

// Every expert of the profile, the most often chosen first: the order in which loading experts brings the
// most hits for each. Ties go to the lower id.
struct RankedExpert {
  ExpertId id;
  double share = 0;  // token[l][e]
};
std::vector<RankedExpert> RankExperts(const ExpertProfile& profile);

// `profile` with its numbers as a groups file stores them, rounded to kProfileDecimals.
inline constexpr int kProfileDecimals = 6;
ExpertProfile RoundProfile(ExpertProfile profile);
// The nearest number of that many decimals, correctly rounded from the binary value (as Python's round()).
double RoundDecimals(double value, int decimals);

class RoutingCounts {
 public:
  RoutingCounts(int num_experts, int top_k) : num_experts_(num_experts), top_k_(top_k) {}

  // Some tokens of one layer: experts and weights [T, K]. Each weight counts divided by `weight_scale`. Ids
  // are below num_experts.
  void Add(int32_t layer, std::span<const int32_t> experts, std::span<const float> weights,
           double weight_scale = 1.0);
  // One (expert, weight) pair of a token; call K times a token.
  void AddPair(int32_t layer, int32_t expert, double weight);
  void Merge(const RoutingCounts& other);

  int num_experts() const { return num_experts_; }
  int top_k() const { return top_k_; }
  // Tokens seen by the layer that saw most; 0 when nothing was added.
  int64_t num_tokens() const;
  // Layers that saw no token are absent.
  ExpertProfile Profile() const;

 private:
  struct Layer {
    int64_t pairs = 0;                // K T
    std::vector<int64_t> selections;  // [E]
    std::vector<double> weights;      // [E]
  };
  Layer& At(int32_t layer);

  int num_experts_, top_k_;
  std::map<int32_t, Layer> layers_;
};

// Which half of some data a record belongs to, 0 or 1: of each two neighbours one is in either half, which
// one is a matter of chance, so that the halves are equal and no regularity of the file (languages in turns)
// divides them. The same number always gives the same half.
int HalfOf(int64_t record);

// Counts of the two halves of some data, so that what they come to can be told with its stability.
struct RoutingHalves {
  RoutingCounts first, second;

  RoutingHalves(int num_experts, int top_k) : first(num_experts, top_k), second(num_experts, top_k) {}
  RoutingCounts& Half(int half) { return half == 0 ? first : second; }
  RoutingCounts Both() const {
    RoutingCounts both = first;
    both.Merge(second);
    return both;
  }
};

// How far two profiles of the same model agree: Pearson's correlation of their shares over all layers and
// experts. 0 when either has no spread.
double Correlation(const ExpertProfile& a, const ExpertProfile& b);

}  // namespace deepshock
