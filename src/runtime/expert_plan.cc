// SPDX-License-Identifier: Apache-2.0
#include "runtime/expert_plan.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <unordered_set>

#include "base/byte_size.h"
#include "experts/store.h"
#include "experts/warm_up.h"
#include "model/fingerprint.h"

namespace deepshock {
namespace {

bool IsThere(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// The layers with routed experts; those of multi-token prediction follow.
ExpertSpace SpaceOf(const Model& model) {
  if (model.memory().store != nullptr) return model.memory().store->residency().space();
  std::vector<int32_t> layers;
  const ModelWeights& weights = model.weights();
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    if (!weights.layers[l].experts.empty()) layers.push_back(static_cast<int32_t>(l));
  }
  for (size_t l = 0; l < weights.mtp.size(); ++l) {
    if (weights.mtp[l].layer.experts.empty()) continue;
    layers.push_back(static_cast<int32_t>(weights.layers.size() + l));
  }
  return {layers, static_cast<int>(model.spec().router.num_experts),
          static_cast<int>(model.spec().router.top_k)};
}

const ExpertWeights& WeightsOf(const Model& model, ExpertId id) {
  const ModelWeights& weights = model.weights();
  const auto layer = static_cast<size_t>(id.layer), expert = static_cast<size_t>(id.expert);
  return layer < weights.layers.size() ? weights.layers[layer].experts[expert]
                                       : weights.mtp[layer - weights.layers.size()].layer.experts[expert];
}

// Asks for a byte of every page, so that those of a mapped file come into memory now rather than one by one
// while a request waits. Returns the bytes.
int64_t TouchPages(const ExpertWeights& w) {
  constexpr int64_t kPage = 4096;
  int64_t bytes = 0;
  for (const Matrix* m : {&w.gate, &w.up, &w.down}) {
    if (!*m) continue;
    const int64_t rows = m->interleaved ? (m->rows + 15) / 16 : m->rows;
    const int64_t last = (rows - 1) * m->row_stride + RowBytes(m->dtype, m->cols);
    for (int64_t at = 0; at < last; at += kPage)
      static_cast<void>(*const_cast<const volatile std::byte*>(m->data + at));
    bytes += m->bytes();
  }
  return bytes;
}

class Preparation {
 public:
  Preparation(const Model& model, const std::string& groups_path, const ExpertOptions& options)
      : model_(model),
        store_(model.memory().store.get()),
        options_(options),
        space_(SpaceOf(model)),
        groups_path_(groups_path) {}

  Result<ExpertReport> Run() {
    DS_RETURN_IF_ERROR(FindGroups());
    DS_RETURN_IF_ERROR(SetPolicy());
    DS_RETURN_IF_ERROR(Pin());
    DS_RETURN_IF_ERROR(Warm());
    return std::move(report_);
  }

 private:
  // Reads the groups file when a group is named, and finds the groups.
  Status FindGroups() {
    const auto find = [&](const std::string& name) -> Result<const ExpertGroup*> {
      if (!groups_) {
        if (!IsThere(groups_path_)) {
          return Fail("no expert group is named \"{}\": {} is not there; known groups: none", name,
                      groups_path_);
        }
        DS_ASSIGN(groups_, LoadGroups(groups_path_, model_.spec(), model_.weights()));
      }
      return groups_->Find(name);
    };
    for (const std::string& name : options_.warmup) {
      DS_ASSIGN(const ExpertGroup* group, find(name).WithContext("--warmup_experts"));
      if (std::find(warm_groups_.begin(), warm_groups_.end(), group) == warm_groups_.end()) {
        warm_groups_.push_back(group);
      }
    }
    for (const std::string& name : options_.pin) {
      if (name.find(':') != std::string::npos) {
        DS_ASSIGN(const ExpertId id, ParseExpertId(name, space_).WithContext("--pin_experts"));
        pins_.push_back(id);
        continue;
      }
      DS_ASSIGN(const ExpertGroup* group, find(name).WithContext("--pin_experts"));
      for (const LayerSelection& layer : group->Select().layers) {
        for (const int32_t expert : layer.experts) {
          if (space_.Has({layer.layer, expert})) pins_.push_back({layer.layer, expert});
        }
      }
    }
    return {};
  }

  Status SetPolicy() {
    std::vector<ExpertRates> profiles;
    for (const ExpertGroup* group : warm_groups_) profiles.push_back(RatesOf(group->profile, space_));
    DS_ASSIGN(
        std::unique_ptr<CachePolicy> policy,
        MakeCachePolicy(options_.policy.empty() ? "auto" : options_.policy, space_, std::move(profiles)));
    report_.policy = policy->name();
    if (store_ != nullptr) store_->SetPolicy(std::move(policy));
    return {};
  }

  Status Pin() {
    std::unordered_set<ExpertId> distinct(pins_.begin(), pins_.end());
    report_.pinned = static_cast<int64_t>(distinct.size());
    if (store_ == nullptr) return {};
    const Residency& books = store_->residency();
    for (const ExpertId& id : pins_) {
      if (store_->Pin(id)) continue;
      const int64_t slot = books.BytesOf(id), room = books.capacity_bytes() / slot;
      return Fail(
          "--pin_experts: expected at most {} of the {} experts that there is memory for ({} each), so that "
          "one "
          "place is left for the others; found {}",
          room - 1, room, FormatByteSize(slot), distinct.size());
    }
    report_.pinned_bytes = books.pinned_bytes();
    return {};
  }

  Status Warm() {
    std::vector<ExpertId> order = pins_;
    if (!options_.warm_set_path.empty() && IsThere(options_.warm_set_path)) {
      DS_ASSIGN(const WarmSet set, WarmSet::Load(options_.warm_set_path));
      DS_RETURN_IF_ERROR(
          set.CheckModel(FingerprintOf(model_.spec(), model_.weights())).WithContext(options_.warm_set_path));
      for (const ExpertId& id : set.experts) {
        if (space_.Has(id)) order.push_back(id);
      }
    }
    std::vector<const ExpertProfile*> profiles;
    for (const ExpertGroup* group : warm_groups_) profiles.push_back(&group->profile);
    const std::vector<ExpertId> by_profile = WarmUpOrder(profiles, space_);
    order.insert(order.end(), by_profile.begin(), by_profile.end());
    std::unordered_set<ExpertId> seen;
    std::erase_if(order, [&](ExpertId id) { return !seen.insert(id).second; });
    report_.wanted = static_cast<int64_t>(order.size());
    report_.from_disk = store_ != nullptr;
    const auto began = std::chrono::steady_clock::now();
    DS_RETURN_IF_ERROR(store_ != nullptr ? WarmFromDisk(order) : WarmMapped(order));
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return {};
  }

  Status WarmFromDisk(const std::vector<ExpertId>& order) {
    const ExpertStoreStats before = store_->stats();
    const int64_t slots = before.capacity - before.num_resident;
    const int64_t each = before.num_experts > 0 ? before.disk_bytes / before.num_experts : 0;
    const int64_t total = each * std::min<int64_t>(slots, static_cast<int64_t>(order.size()));
    DS_RETURN_IF_ERROR(store_->Warm(order, [&](int64_t bytes) {
      return !options_.progress || options_.progress(std::min(bytes, total), total);
    }));
    const Residency& books = store_->residency();
    report_.loaded =
        std::count_if(order.begin(), order.end(), [&](ExpertId id) { return books.Contains(id); });
    report_.loaded_bytes = store_->stats().resident_bytes - before.resident_bytes;
    for (const ExpertGroup* group : warm_groups_) {
      report_.groups.push_back({group->name, CoveredShare(group->profile, space_, books.resident())});
    }
    return {};
  }

  Status WarmMapped(const std::vector<ExpertId>& order) {
    int64_t total = 0, done = 0;
    for (const ExpertId& id : order) {
      const ExpertWeights& w = WeightsOf(model_, id);
      total += w.gate.bytes() + w.up.bytes() + w.down.bytes();
    }
    for (const ExpertId& id : order) {
      done += TouchPages(WeightsOf(model_, id));
      ++report_.loaded;
      if (options_.progress && !options_.progress(done, total)) break;
    }
    report_.loaded_bytes = done;
    for (const ExpertGroup* group : warm_groups_) report_.groups.push_back({group->name, 1.0});
    return {};
  }

  const Model& model_;
  ExpertStore* store_;  // null: all experts are at hand
  const ExpertOptions& options_;
  ExpertSpace space_;
  std::string groups_path_;
  std::optional<GroupsFile> groups_;
  std::vector<const ExpertGroup*> warm_groups_;  // in groups_
  std::vector<ExpertId> pins_;
  ExpertReport report_;
};

}  // namespace

Result<ExpertReport> PrepareExperts(const Model& model, const std::string& groups_path,
                                    const ExpertOptions& options) {
  if (model.spec().router.num_experts == 0) {
    if (options.warmup.empty() && options.pin.empty()) return ExpertReport{};
    return Fail("experts to warm up or pin: expected a model with experts, found a dense one");
  }
  return Preparation(model, groups_path, options).Run();
}

Status SaveWarmSet(const Model& model, const std::string& path) {
  if (model.memory().store == nullptr) {
    return Fail(
        "{}: expected experts that come from disk, found all of them in memory (no limit, or one that "
        "holds the whole model): there is no warm set to save",
        path);
  }
  WarmSet set;
  set.model = FingerprintOf(model.spec(), model.weights());
  set.experts = model.memory().store->residency().ResidentByWorth();
  return set.Save(path);
}

}  // namespace deepshock
