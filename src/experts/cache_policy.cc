// SPDX-License-Identifier: Apache-2.0
#include "experts/cache_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace deepshock {
namespace {

class LruPolicy final : public CachePolicy {
 public:
  explicit LruPolicy(const ExpertSpace& space) : space_(space), last_use_(space.size(), 0) {}

  std::string_view name() const override { return "lru"; }
  void OnUse(int32_t layer, int64_t, std::span<const ExpertUse> uses) override {
    ++now_;
    for (const ExpertUse& use : uses) last_use_[space_.Index({layer, use.expert})] = now_;
  }
  void OnForetold(ExpertId id) override { last_use_[space_.Index(id)] = now_; }
  double Worth(ExpertId id) const override { return static_cast<double>(last_use_[space_.Index(id)]); }

 private:
  ExpertSpace space_;
  int64_t now_ = 0;  // layers of passes
  std::vector<int64_t> last_use_;
};

// How often each expert was chosen by the last tokens, the older ones counting less.
class FadingCounts {
 public:
  FadingCounts(const ExpertSpace& space, double half_life)
      : num_experts_(static_cast<size_t>(space.num_experts())),
        half_life_(half_life),
        tokens_(space.num_layers(), 0),
        chosen_(space.size(), 0) {}

  void Add(size_t layer, int64_t num_rows, std::span<const ExpertUse> uses) {
    // The rows of one pass fade one after the other too: together they weigh what so many single ones would.
    const double keep = std::exp2(-static_cast<double>(num_rows) / half_life_);
    const double each = (1 - keep) / (1 - std::exp2(-1 / half_life_)) / static_cast<double>(num_rows);
    tokens_[layer] = tokens_[layer] * keep + each * static_cast<double>(num_rows);
    const size_t first = layer * num_experts_;
    for (size_t i = first; i < first + num_experts_; ++i) chosen_[i] *= keep;
    for (const ExpertUse& use : uses) chosen_[first + static_cast<size_t>(use.expert)] += each * use.rows;
  }
  // Times a token chooses it, as if `prior_tokens` more had chosen it `prior` times each.
  double Rate(size_t index, double prior, double prior_tokens) const {
    return (chosen_[index] + prior * prior_tokens) / (tokens_[index / num_experts_] + prior_tokens);
  }

 private:
  size_t num_experts_;
  double half_life_;            // tokens
  std::vector<double> tokens_;  // [layers]
  std::vector<double> chosen_;  // [space.size()]
};

// The figures were chosen by replaying traces (docs/decisions/expert-memory.md).
constexpr double kFastHalfLife = 8, kSlowHalfLife = 256;  // tokens
constexpr double kFastShare = 0.3;
constexpr double kPriorTokens = 32;  // what a prior counts
// Evidence for and against a profile fades in so many tokens, so that another text gets its chance.
constexpr double kEvidenceHalfLife = 64;
constexpr double kForetoldRate = 0.7;  // how often what is foretold comes true
constexpr double kFadeOfRows = 0.75;   // of the typical number of rows, a pass

class FrequencyPolicy final : public CachePolicy {
 public:
  FrequencyPolicy(const ExpertSpace& space, std::vector<ExpertRates> profiles)
      : space_(space),
        fast_(space, kFastHalfLife),
        slow_(space, kSlowHalfLife),
        named_("frequency"),
        foretold_(space.size(), 0),
        priors_(std::move(profiles)) {
    if (!priors_.empty()) named_ = "profile";
    for (ExpertRates& prior : priors_) {
      DS_CHECK(prior.size() == space.size(), "a profile of other experts");
      // What a profile never saw may occur all the same.
      for (float& rate : prior) rate = std::max(rate, kUnseenShare * Uniform());
    }
    priors_.emplace_back(space.size(), Uniform());
    weights_.assign(priors_.size(), 1.0 / static_cast<double>(priors_.size()));
    evidence_.assign(priors_.size(), 0);
  }

  std::string_view name() const override { return named_; }

  void OnUse(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses) override {
    const size_t index = space_.LayerIndex(layer);
    if (index <= layer_) {
      log_rows_ = log_rows_ * kFadeOfRows + std::log(static_cast<double>(num_rows)) * (1 - kFadeOfRows);
      rows_ = std::exp(log_rows_);
    }
    layer_ = index;
    const auto experts = static_cast<std::ptrdiff_t>(space_.num_experts());
    std::fill_n(foretold_.begin() + static_cast<std::ptrdiff_t>(index) * experts, experts, uint8_t{0});
    if (priors_.size() > 1) Weigh(index, num_rows, uses);
    fast_.Add(index, num_rows, uses);
    slow_.Add(index, num_rows, uses);
  }

  void OnForetold(ExpertId id) override { foretold_[space_.Index(id)] = 1; }

  // Minus the passes until it is needed again, as expected.
  double Worth(ExpertId id) const override {
    const size_t index = space_.Index(id), layers = space_.num_layers();
    const double rate = foretold_[index] != 0 ? std::max(Rate(index), kForetoldRate) : Rate(index);
    const double in_a_pass = rows_ < 1.5 ? rate : 1 - std::pow(1 - std::min(rate, 1.0), rows_);
    const size_t ahead = (space_.LayerIndex(id.layer) + layers - layer_ - 1) % layers;
    return -(1 / std::max(in_a_pass, 1e-9) + static_cast<double>(ahead) / static_cast<double>(layers));
  }

 private:
  static constexpr float kUnseenShare = 0.05f;
  float Uniform() const {
    return static_cast<float>(space_.num_chosen()) / static_cast<float>(space_.num_experts());
  }

  double Rate(size_t index) const {
    double slow = 0;
    for (size_t m = 0; m < priors_.size(); ++m) {
      slow += weights_[m] * slow_.Rate(index, priors_[m][index], kPriorTokens);
    }
    return kFastShare * fast_.Rate(index, slow, 1) + (1 - kFastShare) * slow;
  }

  // Each prior's share follows how likely it made what was chosen, before that is counted (as in Bayes' rule,
  // with evidence that fades).
  void Weigh(size_t layer, int64_t num_rows, std::span<const ExpertUse> uses) {
    const double keep = std::exp2(-static_cast<double>(num_rows) / kEvidenceHalfLife /
                                  static_cast<double>(space_.num_layers()));
    double most = -1e300;
    for (size_t m = 0; m < priors_.size(); ++m) {
      double log_likelihood = 0;
      for (const ExpertUse& use : uses) {
        const size_t index =
            layer * static_cast<size_t>(space_.num_experts()) + static_cast<size_t>(use.expert);
        log_likelihood += use.rows * std::log(slow_.Rate(index, priors_[m][index], kPriorTokens));
      }
      evidence_[m] = evidence_[m] * keep + log_likelihood;
      most = std::max(most, evidence_[m]);
    }
    double sum = 0;
    for (size_t m = 0; m < priors_.size(); ++m) sum += weights_[m] = std::exp(evidence_[m] - most);
    for (double& weight : weights_) weight /= sum;
  }

  ExpertSpace space_;
  FadingCounts fast_, slow_;
  std::string_view named_;
  std::vector<uint8_t> foretold_;    // [space.size()] until its layer's turn is over
  size_t layer_ = 0;                 // that was used last
  double log_rows_ = 0, rows_ = 1;   // of a typical pass
  std::vector<ExpertRates> priors_;  // the profiles, then the one that knows nothing
  std::vector<double> weights_;      // of each prior; their sum is 1
  std::vector<double> evidence_;     // log-likelihood of what was chosen
};

}  // namespace

Result<std::unique_ptr<CachePolicy>> MakeCachePolicy(std::string_view name, const ExpertSpace& space,
                                                     std::vector<ExpertRates> profiles) {
  if (name == "lru") return std::unique_ptr<CachePolicy>(std::make_unique<LruPolicy>(space));
  if (name == "profile" && profiles.empty()) {
    return Fail("expert policy 'profile': expected groups of experts to go by, found none");
  }
  if (name == "frequency") profiles.clear();
  if (name == "auto" || name == "frequency" || name == "profile") {
    return std::unique_ptr<CachePolicy>(std::make_unique<FrequencyPolicy>(space, std::move(profiles)));
  }
  return Fail("expert policy: expected one of {}, found '{}'", kCachePolicyNames, name);
}

}  // namespace deepshock
