// SPDX-License-Identifier: Apache-2.0
#include "experts/warm_up.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/output_file.h"

namespace deepshock {
namespace {

constexpr size_t kMaxFileBytes = 8 << 20;
constexpr int64_t kMaxLayers = 4096, kMaxExperts = 65536, kMaxHidden = 1 << 24;

Result<int64_t> Integer(const Json& json, const std::string& what, int64_t low, int64_t high) {
  const bool fits = json.is_number_integer() &&
                    (!json.is_number_unsigned() || json.get<uint64_t>() <= static_cast<uint64_t>(high));
  if (!fits || json.get<int64_t>() < low || json.get<int64_t>() > high) {
    return Fail("{}: expected a whole number from {} to {}", what, low, high);
  }
  return json.get<int64_t>();
}

Result<int64_t> Member(const Json& object, const char* key, int64_t high) {
  const auto member = object.find(key);
  if (member == object.end()) return Fail("expected a member \"{}\", found none", key);
  return Integer(*member, key, 0, high);
}

Result<const Json*> List(const Json& object, const char* key, size_t most) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_array() || member->size() > most) {
    return Fail("\"{}\": expected a list of at most {} pairs", key, most);
  }
  for (const Json& pair : *member) {
    if (!pair.is_array() || pair.size() != 2) return Fail("\"{}\": expected pairs", key);
  }
  return &*member;
}

Result<uint64_t> Hexadecimal(const Json& json) {
  const std::string text = json.is_string() ? json.get<std::string>() : "";
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size()) {
    return Fail("\"routers\": expected 16 hexadecimal digits");
  }
  return value;
}

Result<WarmSet> ReadWarmSet(const Json& json) {
  if (!json.is_object()) return Fail("expected an object");
  DS_ASSIGN(const int64_t version, Member(json, "deepshock_warm_set", 1 << 20));
  if (version != 1) return Fail("expected version 1 of a warm set, found {}", version);
  WarmSet set;
  DS_ASSIGN(const int64_t hidden, Member(json, "hidden", kMaxHidden));
  DS_ASSIGN(const int64_t num_experts, Member(json, "experts", kMaxExperts));
  DS_ASSIGN(const int64_t top_k, Member(json, "experts_per_token", kMaxExperts));
  set.model.hidden = static_cast<int>(hidden);
  set.model.num_experts = static_cast<int>(num_experts);
  set.model.top_k = static_cast<int>(top_k);
  DS_ASSIGN(const Json* routers, List(json, "routers", static_cast<size_t>(kMaxLayers)));
  for (const Json& router : *routers) {
    DS_ASSIGN(const int64_t layer, Integer(router[0], "routers", 0, kMaxLayers));
    DS_ASSIGN(const uint64_t signs, Hexadecimal(router[1]));
    set.model.routers.push_back({static_cast<int32_t>(layer), signs});
  }
  DS_ASSIGN(const Json* warm, List(json, "warm", kMaxFileBytes / 4));
  std::unordered_set<ExpertId> seen;
  for (const Json& pair : *warm) {
    DS_ASSIGN(const int64_t layer, Integer(pair[0], "warm: layer", 0, kMaxLayers));
    DS_ASSIGN(const int64_t expert, Integer(pair[1], "warm: expert", 0, num_experts - 1));
    const ExpertId id = {static_cast<int32_t>(layer), static_cast<int32_t>(expert)};
    if (!seen.insert(id).second) return Fail("warm: expert {}:{} occurs twice", layer, expert);
    set.experts.push_back(id);
  }
  return set;
}

}  // namespace

ExpertRates RatesOf(const ExpertProfile& profile, const ExpertSpace& space) {
  const auto k = static_cast<float>(space.num_chosen());
  ExpertRates rates(space.size(), k / static_cast<float>(space.num_experts()));
  for (const LayerProfile& layer : profile.layers) {
    for (int32_t e = 0; e < static_cast<int32_t>(layer.token.size()); ++e) {
      const ExpertId id = {layer.layer, e};
      if (space.Has(id)) rates[space.Index(id)] = k * static_cast<float>(layer.token[static_cast<size_t>(e)]);
    }
  }
  return rates;
}

std::vector<ExpertId> WarmUpOrder(std::span<const ExpertProfile* const> profiles, const ExpertSpace& space) {
  std::vector<std::vector<RankedExpert>> ranked;
  for (const ExpertProfile* profile : profiles) ranked.push_back(RankExperts(*profile));
  std::vector<size_t> next(ranked.size(), 0);
  std::unordered_set<ExpertId> taken;
  std::vector<ExpertId> order;
  for (bool any = true; any;) {
    any = false;
    for (size_t i = 0; i < ranked.size(); ++i) {
      size_t& at = next[i];
      while (at < ranked[i].size() && (!space.Has(ranked[i][at].id) || taken.contains(ranked[i][at].id)))
        ++at;
      if (at == ranked[i].size() || ranked[i][at].share <= 0) continue;
      order.push_back(ranked[i][at].id);
      taken.insert(ranked[i][at++].id);
      any = true;
    }
  }
  return order;
}

double CoveredShare(const ExpertProfile& profile, const ExpertSpace& space,
                    std::span<const ExpertId> experts) {
  const std::unordered_set<ExpertId> held(experts.begin(), experts.end());
  double covered = 0, all = 0;
  for (const RankedExpert& ranked : RankExperts(profile)) {
    if (!space.Has(ranked.id)) continue;
    all += ranked.share;
    if (held.contains(ranked.id)) covered += ranked.share;
  }
  return all > 0 ? covered / all : 0;
}

Result<ExpertId> ParseExpertId(std::string_view text, const ExpertSpace& space) {
  const size_t colon = text.find(':');
  ExpertId id;
  const auto parse = [](std::string_view digits, int32_t* value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  };
  if (colon == std::string_view::npos || !parse(text.substr(0, colon), &id.layer) ||
      !parse(text.substr(colon + 1), &id.expert)) {
    return Fail("expected LAYER:EXPERT, found '{}'", text);
  }
  if (!space.Has(id)) {
    return Fail("expected a layer with experts, of {} to {}, and an expert of 0 to {}, found '{}'",
                space.layers().front(), space.layers().back(), space.num_experts() - 1, text);
  }
  return id;
}

std::string WarmSet::ToJson() const {
  std::string text = fmt::format(
      "{{\"deepshock_warm_set\": 1, \"hidden\": {}, \"experts\": {}, \"experts_per_token\": {},\n "
      "\"routers\": [",
      model.hidden, model.num_experts, model.top_k);
  for (size_t i = 0; i < model.routers.size(); ++i) {
    text +=
        fmt::format("{}[{}, \"{:016x}\"]", i > 0 ? ", " : "", model.routers[i].layer, model.routers[i].signs);
  }
  text += "],\n \"warm\": [";
  for (size_t i = 0; i < experts.size(); ++i) {
    text += fmt::format("{}[{}, {}]",
                        i == 0        ? ""
                        : i % 12 == 0 ? ",\n  "
                                      : ", ",
                        experts[i].layer, experts[i].expert);
  }
  return text + "]}\n";
}

Result<WarmSet> WarmSet::Parse(std::string_view text, const std::string& name) {
  DS_ASSIGN(const Json json, ParseJson(text).WithContext(name));
  return ReadWarmSet(json).WithContext(name);
}

Result<WarmSet> WarmSet::Load(const std::string& path) {
  DS_ASSIGN(const Json json, ReadJsonFile(path, kMaxFileBytes));
  return ReadWarmSet(json).WithContext(path);
}

Status WarmSet::Save(const std::string& path) const {
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  DS_RETURN_IF_ERROR(file.Write(ToJson()));
  return file.Commit();
}

Status WarmSet::CheckModel(const ModelFingerprint& other) const {
  const double distance = FingerprintDistance(model, other);
  if (distance <= kMaxFingerprintDistance) return {};
  return Fail("expected the warm set of this model, found another's ({:.0f} % of the router signs differ)",
              100 * distance);
}

}  // namespace deepshock
