// SPDX-License-Identifier: Apache-2.0
// From a profile to a set of experts: the two rules of Expert-Specialized Fine-Tuning (arXiv 2407.01906), so
// that published score files give exactly the published selections. In each layer: scores rounded to 4
// decimals, sorted descending, ties to the lower id; experts are taken until the sum of their scores is at
// least p (summed in that order in double, as the published script does). esft-token scores by share of
// selections, esft-gate by mean gate weight.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/profile.h"

namespace deepshock {

enum class SelectionRule { kEsftToken, kEsftGate };

std::string_view Name(SelectionRule rule);  // "esft-token"
Result<SelectionRule> SelectionRuleByName(std::string_view name);

inline constexpr int kScoreDecimals = 4;

struct LayerSelection {
  int32_t layer = 0;
  std::vector<int32_t> experts;  // in the order taken
  double sum_before_last = 0;    // of scores, without the last expert taken
  double sum = 0;                // of scores
  // Experts not taken although the last one taken scores no higher: the rule decides by id between them.
  std::vector<int32_t> tied;
};

struct ExpertSelection {
  int num_experts = 0;
  std::vector<LayerSelection> layers;  // as the profile's
  // Any p with p_above < p <= p_upto selects the same. p_upto is infinite where every expert is taken.
  double p_above = 0, p_upto = 0;

  int64_t size() const;                // experts in all layers
  std::vector<ExpertId> Ids() const;  // layer by layer, in the order taken
};

// p > 0.
ExpertSelection SelectExperts(const ExpertProfile& profile, SelectionRule rule, double p);

// Whether both speak of the same layers and experts, which is what the functions of two of them need.
bool SameLayers(const ExpertProfile& a, const ExpertProfile& b);

// How well two selections agree: |A and B| / |A or B| of each layer, averaged.
double MeanJaccard(const ExpertSelection& a, const ExpertSelection& b);

// Share of the profile's selections (`token`) that fall on selected experts, averaged over layers.
double Coverage(const ExpertSelection& selection, const ExpertProfile& profile);
// Coverage of as many experts taken at random: selected / E, averaged over layers.
double ChanceCoverage(const ExpertSelection& selection);
// Coverage of the best choice of as many experts in each layer.
double BestCoverage(const ExpertSelection& selection, const ExpertProfile& profile);

}  // namespace deepshock
