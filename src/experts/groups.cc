// SPDX-License-Identifier: Apache-2.0
#include "experts/groups.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <set>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/output_file.h"

namespace deepshock {
namespace {

constexpr char kFormat[] = "deepshock-experts";
constexpr int kVersion = 1;
constexpr size_t kMaxFileBytes = 64u << 20;
constexpr int64_t kMaxExperts = 1 << 16, kMaxLayers = 1 << 16;
constexpr size_t kMaxNameBytes = 64, kMaxGroups = 1024;

// -- reading -----------------------------------------------------------------------------------------------

Result<const Json*> Member(const Json& object, const char* key) {
  if (!object.is_object()) return Fail("expected an object, found {}", object.type_name());
  const auto at = object.find(key);
  if (at == object.end()) return Fail("expected a field \"{}\", found none", key);
  return &*at;
}

Result<std::string> ReadString(const Json& object, const char* key) {
  DS_ASSIGN(const Json* value, Member(object, key));
  if (!value->is_string()) return Fail("{}: expected a string, found {}", key, value->type_name());
  return value->get<std::string>();
}

Result<int64_t> ReadInteger(const Json& object, const char* key, int64_t low, int64_t high) {
  DS_ASSIGN(const Json* value, Member(object, key));
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= static_cast<uint64_t>(high));
  if (!fits || value->get<int64_t>() < low || value->get<int64_t>() > high) {
    return Fail("{}: expected a whole number from {} to {}, found {}", key, low, high,
                value->is_number() ? value->dump() : value->type_name());
  }
  return value->get<int64_t>();
}

Result<double> CheckNumber(const Json& value, const char* key, double low, double high) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (!(number >= low && number <= high)) {
    return Fail("{}: expected a number from {} to {}, found {}", key, low, high,
                value.is_number() ? value.dump() : value.type_name());
  }
  return number;
}

Result<double> ReadNumber(const Json& object, const char* key, double low, double high) {
  DS_ASSIGN(const Json* value, Member(object, key));
  return CheckNumber(*value, key, low, high);
}

// Layers are keys of an object: "1", "2", ...
Result<int32_t> LayerOfKey(const std::string& key) {
  int32_t layer = -1;
  const auto end = std::from_chars(key.data(), key.data() + key.size(), layer);
  if (end.ec != std::errc() || layer < 0 || layer >= kMaxLayers || std::to_string(layer) != key) {
    return Fail("expected the number of a layer, found \"{}\"", key);
  }
  return layer;
}

Result<ModelFingerprint> ReadModel(const Json& json) {
  ModelFingerprint model;
  DS_ASSIGN(model.architecture, ReadString(json, "architecture"));
  DS_ASSIGN(const int64_t hidden, ReadInteger(json, "hidden", 1, 1 << 24));
  DS_ASSIGN(const int64_t num_experts, ReadInteger(json, "num_experts", 1, kMaxExperts));
  DS_ASSIGN(const int64_t top_k, ReadInteger(json, "top_k", 1, num_experts));
  model.hidden = static_cast<int>(hidden);
  model.num_experts = static_cast<int>(num_experts);
  model.top_k = static_cast<int>(top_k);
  DS_ASSIGN(const Json* routers, Member(json, "routers"));
  if (!routers->is_object()) return Fail("routers: expected an object, found {}", routers->type_name());
  for (const auto& [key, value] : routers->items()) {
    DS_ASSIGN(const int32_t layer, LayerOfKey(key).WithContext("routers"));
    const std::string text = value.is_string() ? value.get<std::string>() : "";
    uint64_t signs = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), signs, 16);
    if (text.size() != 16 || end.ptr != text.data() + text.size()) {
      return Fail("routers: layer {}: expected 16 hexadecimal digits, found {}", key,
                  value.is_string() ? "\"" + text + "\"" : value.type_name());
    }
    model.routers.push_back({layer, signs});
  }
  std::sort(model.routers.begin(), model.routers.end(),
            [](const auto& a, const auto& b) { return a.layer < b.layer; });
  return model;
}

Result<std::vector<double>> ReadScores(const Json& layer, const char* key, size_t num_experts, double high) {
  DS_ASSIGN(const Json* values, Member(layer, key));
  if (!values->is_array() || values->size() != num_experts) {
    return Fail("{}: expected {} numbers, found {}", key, num_experts,
                values->is_array() ? std::to_string(values->size()) : values->type_name());
  }
  std::vector<double> scores;
  for (const Json& value : *values) {
    DS_ASSIGN(const double score, CheckNumber(value, key, 0, high));
    scores.push_back(score);
  }
  return scores;
}

Result<ExpertProfile> ReadProfile(const Json& json, const ModelFingerprint& model) {
  constexpr double kMaxGate = 1e6;
  ExpertProfile profile{model.num_experts, model.top_k, {}};
  if (!json.is_object()) return Fail("expected an object, found {}", json.type_name());
  for (const auto& [key, value] : json.items()) {
    LayerProfile layer;
    DS_ASSIGN(layer.layer, LayerOfKey(key));
    const auto num_experts = static_cast<size_t>(model.num_experts);
    DS_ASSIGN(layer.token, ReadScores(value, "token", num_experts, 1).WithContext("layer " + key));
    DS_ASSIGN(layer.gate, ReadScores(value, "gate", num_experts, kMaxGate).WithContext("layer " + key));
    profile.layers.push_back(std::move(layer));
  }
  std::sort(profile.layers.begin(), profile.layers.end(),
            [](const LayerProfile& a, const LayerProfile& b) { return a.layer < b.layer; });
  const bool same_layers =
      std::equal(profile.layers.begin(), profile.layers.end(), model.routers.begin(), model.routers.end(),
                 [](const auto& a, const auto& b) { return a.layer == b.layer; });
  if (!same_layers) {
    return Fail("expected the {} layers that the model's routers list, found {} or others",
                model.routers.size(), profile.layers.size());
  }
  return profile;
}

Result<HeldOutScore> ReadHeldOut(const Json& json) {
  HeldOutScore score;
  DS_ASSIGN(score.data, ReadString(json, "data"));
  DS_ASSIGN(score.num_tokens, ReadInteger(json, "num_tokens", 0, INT64_MAX));
  DS_ASSIGN(score.coverage, ReadNumber(json, "coverage", 0, 1));
  DS_ASSIGN(score.chance, ReadNumber(json, "chance", 0, 1));
  DS_ASSIGN(score.best, ReadNumber(json, "best", 0, 1));
  return score;
}

Result<ExpertGroup> ReadGroup(const Json& json, const ModelFingerprint& model) {
  ExpertGroup group;
  DS_ASSIGN(group.name, ReadString(json, "name"));
  DS_RETURN_IF_ERROR(CheckGroupName(group.name));
  const auto read_rest = [&]() -> Status {
    DS_ASSIGN(group.data, ReadString(json, "data"));
    DS_ASSIGN(group.num_tokens, ReadInteger(json, "num_tokens", 0, INT64_MAX));
    DS_ASSIGN(const std::string rule, ReadString(json, "rule"));
    DS_ASSIGN(group.rule, SelectionRuleByName(rule));
    DS_ASSIGN(group.p, ReadNumber(json, "p", 1e-6, 1e6));
    if (json.contains("split_half")) {
      group.split_half.emplace();
      const Json& halves = json["split_half"];
      DS_ASSIGN(group.split_half->jaccard, ReadNumber(halves, "jaccard", 0, 1).WithContext("split_half"));
      DS_ASSIGN(group.split_half->correlation,
                ReadNumber(halves, "correlation", -1, 1).WithContext("split_half"));
    }
    if (json.contains("held_out")) {
      DS_ASSIGN(group.held_out, ReadHeldOut(json["held_out"]).WithContext("held_out"));
    }
    DS_ASSIGN(const Json* profile, Member(json, "profile"));
    DS_ASSIGN(group.profile, ReadProfile(*profile, model).WithContext("profile"));
    return {};
  };
  DS_RETURN_IF_ERROR(read_rest().WithContext("group " + group.name));
  return group;
}

Result<GroupsFile> ReadFileOfGroups(const Json& json) {
  GroupsFile file;
  DS_ASSIGN(const std::string format, ReadString(json, "format"));
  if (format != kFormat) return Fail("format: expected \"{}\", found \"{}\"", kFormat, format);
  DS_ASSIGN(const int64_t version, ReadInteger(json, "version", 0, INT64_MAX));
  if (version != kVersion) return Fail("version: expected {}, found {}", kVersion, version);
  DS_ASSIGN(const Json* model, Member(json, "model"));
  DS_ASSIGN(file.model, ReadModel(*model).WithContext("model"));
  DS_ASSIGN(const Json* groups, Member(json, "groups"));
  if (!groups->is_array()) return Fail("groups: expected a list, found {}", groups->type_name());
  if (groups->size() > kMaxGroups) {
    return Fail("groups: expected at most {}, found {}", kMaxGroups, groups->size());
  }
  std::set<std::string> names;
  for (size_t i = 0; i < groups->size(); ++i) {
    DS_ASSIGN(ExpertGroup group,
              ReadGroup((*groups)[i], file.model).WithContext(fmt::format("groups[{}]", i)));
    if (!names.insert(group.name).second) return Fail("groups: \"{}\" occurs twice", group.name);
    file.groups.push_back(std::move(group));
  }
  return file;
}

// -- writing -----------------------------------------------------------------------------------------------

std::string Quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Numbers(const std::vector<double>& values) {
  std::string text;
  for (const double v : values) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", RoundDecimals(v, kProfileDecimals));
  }
  return "[" + text + "]";
}

double Round(double value) { return RoundDecimals(value, kProfileDecimals); }

}  // namespace

double FingerprintDistance(const ModelFingerprint& a, const ModelFingerprint& b) {
  if (a.hidden != b.hidden || a.num_experts != b.num_experts || a.top_k != b.top_k ||
      a.routers.size() != b.routers.size() || a.routers.empty()) {
    return 1;
  }
  int64_t different = 0;
  for (size_t i = 0; i < a.routers.size(); ++i) {
    if (a.routers[i].layer != b.routers[i].layer) return 1;
    different += std::popcount(a.routers[i].signs ^ b.routers[i].signs);
  }
  return static_cast<double>(different) / (64.0 * static_cast<double>(a.routers.size()));
}

std::string RouterSigns(const ModelFingerprint& model) {
  std::string text;
  for (const ModelFingerprint::Router& router : model.routers) {
    text += fmt::format("{}{:016x}", text.empty() ? "" : "-", router.signs);
  }
  return text;
}

Status CheckRouterSigns(std::string_view signs, const ModelFingerprint& model) {
  constexpr size_t kDigits = 16;
  ModelFingerprint other = model;
  bool valid = signs.size() + 1 == model.routers.size() * (kDigits + 1);
  for (size_t i = 0; i < model.routers.size() && valid; ++i) {
    const std::string_view digits = signs.substr(i * (kDigits + 1), kDigits);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + kDigits, other.routers[i].signs, 16);
    valid = error == std::errc() && end == digits.data() + kDigits;
  }
  if (!valid) {
    return Fail("fingerprint: expected {} groups of {} hexadecimal digits, found another model's, or none",
                model.routers.size(), kDigits);
  }
  const double distance = FingerprintDistance(model, other);
  if (distance <= kMaxFingerprintDistance) return {};
  return Fail(
      "fingerprint of another model: its routers differ in {:.0f} % (at most {:.0f} % for the same model)",
      100 * distance, 100 * kMaxFingerprintDistance);
}

ExpertGroup MeasureGroup(const RoutingHalves& counts, SelectionRule rule, double p) {
  const RoutingCounts both = counts.Both();
  ExpertGroup group;
  group.num_tokens = both.num_tokens();
  group.rule = rule;
  group.p = p;
  group.profile = RoundProfile(both.Profile());
  const ExpertProfile first = counts.first.Profile(), second = counts.second.Profile();
  if (!first.layers.empty() && SameLayers(first, second)) {
    const double jaccard = MeanJaccard(SelectExperts(first, rule, p), SelectExperts(second, rule, p));
    group.split_half = SplitHalf{jaccard, Correlation(first, second)};
  }
  return group;
}

HeldOutScore ScoreHeldOut(const ExpertGroup& group, const RoutingCounts& held_out) {
  const ExpertProfile profile = held_out.Profile();
  const ExpertSelection selection = group.Select();
  HeldOutScore score;
  score.num_tokens = held_out.num_tokens();
  score.coverage = Coverage(selection, profile);
  score.chance = ChanceCoverage(selection);
  score.best = BestCoverage(selection, profile);
  return score;
}

Status CheckGroupName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  if (name.empty() || name.size() > kMaxNameBytes || !std::all_of(name.begin(), name.end(), allowed)) {
    return Fail("name of a group: expected 1 to {} letters, digits, '_', '-' or '.', found \"{}\"",
                kMaxNameBytes, name.substr(0, 2 * kMaxNameBytes));
  }
  return {};
}

Result<GroupsFile> GroupsFile::Parse(std::string_view text, const std::string& name) {
  DS_ASSIGN(const Json json, ParseJson(text).WithContext(name));
  return ReadFileOfGroups(json).WithContext(name);
}

Result<GroupsFile> GroupsFile::Load(const std::string& path) {
  DS_ASSIGN(const std::string text, ReadFile(path, kMaxFileBytes));
  return Parse(text, path);
}

std::string GroupToJson(const ExpertGroup& group) {
  std::string text =
      fmt::format("{{\"name\": {}, \"data\": {}, \"num_tokens\": {},\n  \"rule\": \"{}\", \"p\": {}",
                  Quoted(group.name), Quoted(group.data), group.num_tokens, Name(group.rule), group.p);
  if (group.split_half) {
    text += fmt::format(",\n  \"split_half\": {{\"jaccard\": {}, \"correlation\": {}}}",
                        Round(group.split_half->jaccard), Round(group.split_half->correlation));
  }
  if (group.held_out) {
    const HeldOutScore& h = *group.held_out;
    text += fmt::format(
        ",\n  \"held_out\": {{\"data\": {}, \"num_tokens\": {}, \"coverage\": {}, \"chance\": {}, \"best\": "
        "{}}}",
        Quoted(h.data), h.num_tokens, Round(h.coverage), Round(h.chance), Round(h.best));
  }
  text += ",\n  \"profile\": {";
  const char* separator = "";
  for (const LayerProfile& layer : group.profile.layers) {
    text += fmt::format("{}\n    \"{}\": {{\"token\": {},\n      \"gate\": {}}}", separator, layer.layer,
                        Numbers(layer.token), Numbers(layer.gate));
    separator = ",";
  }
  return text + "}}";
}

std::string GroupsFile::ToJson() const {
  std::string routers;
  for (const ModelFingerprint::Router& router : model.routers) {
    routers +=
        fmt::format("{}\n    \"{}\": \"{:016x}\"", routers.empty() ? "" : ",", router.layer, router.signs);
  }
  std::string list;
  for (const ExpertGroup& group : groups) list += (list.empty() ? "\n" : ",\n") + GroupToJson(group);
  return fmt::format(
      "{{\"format\": \"{}\", \"version\": {},\n\"model\": {{\"architecture\": {}, \"hidden\": {}, "
      "\"num_experts\": {}, \"top_k\": {},\n  \"routers\": {{{}}}}},\n\"groups\": [{}]}}\n",
      kFormat, kVersion, Quoted(model.architecture), model.hidden, model.num_experts, model.top_k, routers,
      list);
}

Status GroupsFile::Save(const std::string& path) const {
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  DS_RETURN_IF_ERROR(file.Write(ToJson()));
  return file.Commit();
}

Result<const ExpertGroup*> GroupsFile::Find(std::string_view name) const {
  std::string known;
  for (const ExpertGroup& group : groups) {
    if (group.name == name) return &group;
    known += (known.empty() ? "" : ", ") + group.name;
  }
  return Fail("no expert group is named \"{}\"; known groups: {}", name, known.empty() ? "none" : known);
}

bool GroupsFile::Put(ExpertGroup group) {
  for (ExpertGroup& old : groups) {
    if (old.name != group.name) continue;
    old = std::move(group);
    return true;
  }
  groups.push_back(std::move(group));
  return false;
}

Status GroupsFile::CheckModel(const ModelFingerprint& other) const {
  const double distance = FingerprintDistance(model, other);
  if (distance <= kMaxFingerprintDistance) return {};
  const auto describe = [](const ModelFingerprint& m) {
    return fmt::format("{} of {} experts, {} chosen, in {} layers of width {}", m.architecture, m.num_experts,
                       m.top_k, m.routers.size(), m.hidden);
  };
  if (distance < 1) {
    return Fail(
        "groups of another model: its routers differ in {:.0f} % of their fingerprint (at most {:.0f} % "
        "are expected of one model in other number formats)",
        100 * distance, 100 * kMaxFingerprintDistance);
  }
  return Fail("groups of another model: expected {}, found {}", describe(other), describe(model));
}

std::string GroupsPathOf(const std::string& model_path) {
  constexpr std::string_view kGguf = ".gguf";
  std::string path = model_path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.size() <= kGguf.size() || !path.ends_with(kGguf)) return path + "/experts.json";
  path.resize(path.size() - kGguf.size());
  // A part of a split set: -00001-of-00003.
  constexpr std::string_view kShape = "-00000-of-00000";
  const bool is_part =
      path.size() > kShape.size() &&
      std::equal(kShape.begin(), kShape.end(), path.end() - kShape.size(),
                 [](char want, char c) { return want == '0' ? c >= '0' && c <= '9' : c == want; });
  if (is_part) path.resize(path.size() - kShape.size());
  return path + ".experts.json";
}

}  // namespace deepshock
