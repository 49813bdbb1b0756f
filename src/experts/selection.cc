// SPDX-License-Identifier: Apache-2.0
#include "experts/selection.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace deepshock {
namespace {

LayerSelection SelectInLayer(int32_t layer, const std::vector<double>& exact_scores, double p) {
  std::vector<double> scores;
  for (const double s : exact_scores) scores.push_back(RoundDecimals(s, kScoreDecimals));
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](int32_t e) { return scores[static_cast<size_t>(e)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });

  LayerSelection selection;
  selection.layer = layer;
  size_t taken = 0;
  for (; taken < order.size() && selection.sum < p; ++taken) {
    selection.sum_before_last = selection.sum;
    selection.sum += score(order[taken]);
  }
  selection.experts.assign(order.begin(), order.begin() + static_cast<int64_t>(taken));
  for (size_t i = taken; taken > 0 && i < order.size() && score(order[i]) == score(order[taken - 1]); ++i) {
    selection.tied.push_back(order[i]);
  }
  return selection;
}

}  // namespace

std::string_view Name(SelectionRule rule) {
  return rule == SelectionRule::kEsftToken ? "esft-token" : "esft-gate";
}

Result<SelectionRule> SelectionRuleByName(std::string_view name) {
  for (const SelectionRule rule : {SelectionRule::kEsftToken, SelectionRule::kEsftGate}) {
    if (name == Name(rule)) return rule;
  }
  return Fail("rule: expected esft-token or esft-gate, found \"{}\"", name);
}

int64_t ExpertSelection::size() const {
  int64_t n = 0;
  for (const LayerSelection& layer : layers) n += static_cast<int64_t>(layer.experts.size());
  return n;
}

std::vector<ExpertId> ExpertSelection::Ids() const {
  std::vector<ExpertId> ids;
  for (const LayerSelection& layer : layers) {
    for (const int32_t e : layer.experts) ids.push_back({layer.layer, e});
  }
  return ids;
}

ExpertSelection SelectExperts(const ExpertProfile& profile, SelectionRule rule, double p) {
  DS_CHECK(p > 0, "a positive share");
  ExpertSelection selection;
  selection.num_experts = profile.num_experts;
  selection.p_upto = std::numeric_limits<double>::infinity();
  for (const LayerProfile& layer : profile.layers) {
    const std::vector<double>& scores = rule == SelectionRule::kEsftToken ? layer.token : layer.gate;
    LayerSelection chosen = SelectInLayer(layer.layer, scores, p);
    selection.p_above = std::max(selection.p_above, chosen.sum_before_last);
    if (chosen.experts.size() < scores.size()) selection.p_upto = std::min(selection.p_upto, chosen.sum);
    selection.layers.push_back(std::move(chosen));
  }
  return selection;
}

bool SameLayers(const ExpertProfile& a, const ExpertProfile& b) {
  return a.num_experts == b.num_experts &&
         std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(),
                    [](const LayerProfile& x, const LayerProfile& y) { return x.layer == y.layer; });
}

double MeanJaccard(const ExpertSelection& a, const ExpertSelection& b) {
  DS_CHECK(a.layers.size() == b.layers.size(), "selections of one model");
  if (a.layers.empty()) return 1;
  double sum = 0;
  for (size_t l = 0; l < a.layers.size(); ++l) {
    std::vector<int32_t> x = a.layers[l].experts, y = b.layers[l].experts, both, either;
    std::sort(x.begin(), x.end());
    std::sort(y.begin(), y.end());
    std::set_intersection(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(both));
    std::set_union(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(either));
    sum += either.empty() ? 1 : static_cast<double>(both.size()) / static_cast<double>(either.size());
  }
  return sum / static_cast<double>(a.layers.size());
}

double Coverage(const ExpertSelection& selection, const ExpertProfile& profile) {
  if (selection.layers.empty()) return 0;
  double sum = 0;
  for (const LayerSelection& layer : selection.layers) {
    const LayerProfile* shares = profile.Find(layer.layer);
    DS_CHECK(shares != nullptr, "a selection and a profile of one model");
    for (const int32_t e : layer.experts) sum += shares->token[static_cast<size_t>(e)];
  }
  return sum / static_cast<double>(selection.layers.size());
}

double ChanceCoverage(const ExpertSelection& selection) {
  const double experts = static_cast<double>(selection.layers.size()) * selection.num_experts;
  return experts > 0 ? static_cast<double>(selection.size()) / experts : 0;
}

double BestCoverage(const ExpertSelection& selection, const ExpertProfile& profile) {
  if (selection.layers.empty()) return 0;
  double sum = 0;
  for (const LayerSelection& layer : selection.layers) {
    const LayerProfile* shares = profile.Find(layer.layer);
    DS_CHECK(shares != nullptr, "a selection and a profile of one model");
    std::vector<double> sorted = shares->token;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    sum = std::accumulate(sorted.begin(), sorted.begin() + static_cast<int64_t>(layer.experts.size()), sum);
  }
  return sum / static_cast<double>(selection.layers.size());
}

}  // namespace deepshock
