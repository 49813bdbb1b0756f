// SPDX-License-Identifier: Apache-2.0
// Named groups of experts, and the file beside a model that keeps them. A group such as code_expert is a
// weighted profile (how often each expert was chosen on some text) and a rule that derives a set of experts
// from it. The file is JSON: docs/experts.md tells its fields. Plain values, read by anyone; saving is
// atomic.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/profile.h"
#include "experts/selection.h"

namespace deepshock {

// Which model a groups file belongs to: its shape, and for each MoE layer 64 signs of random projections of
// its router (model/fingerprint.h). Storing the router in fewer bits turns few signs, another model about
// half.
struct ModelFingerprint {
  std::string architecture;  // for messages only: one model has several names
  int hidden = 0;            // H
  int num_experts = 0;       // E
  int top_k = 0;             // K
  struct Router {
    int32_t layer = 0;
    uint64_t signs = 0;
  };
  std::vector<Router> routers;  // MoE layers, ascending
};

// Share of router signs that differ; 1 for models of different shapes.
double FingerprintDistance(const ModelFingerprint& a, const ModelFingerprint& b);
// Up to here two fingerprints are of one model: 4-bit routers stay far below, another model is near 0.5.
inline constexpr double kMaxFingerprintDistance = 0.125;

// The routers of a fingerprint as text, for files that keep no more of it: 16 hexadecimal digits for each MoE
// layer, joined by "-".
std::string RouterSigns(const ModelFingerprint& model);
// Fails where `signs` are those of another model, or none at all.
Status CheckRouterSigns(std::string_view signs, const ModelFingerprint& model);

// How far the halves of the data agree.
struct SplitHalf {
  double jaccard = 0;      // of their selections
  double correlation = 0;  // of their shares
};

// How the group does on text that its profile was not made from.
struct HeldOutScore {
  std::string data;
  int64_t num_tokens = 0;
  double coverage = 0;  // share of selections on held-out text that the group's set holds
  double chance = 0;    // the same for as many experts at random
  double best = 0;      // the same for the best set of as many experts in each layer
};

struct ExpertGroup {
  std::string name;
  std::string data;  // what it was made from, for people
  int64_t num_tokens = 0;
  SelectionRule rule = SelectionRule::kEsftToken;
  double p = 0.2;
  std::optional<SplitHalf> split_half;
  std::optional<HeldOutScore> held_out;
  ExpertProfile profile;

  ExpertSelection Select() const { return SelectExperts(profile, rule, p); }
};

// A group of what was counted: its profile rounded as the file has it, tokens and agreement of the halves
// (where both saw the same layers). Name and data are the caller's to fill.
ExpertGroup MeasureGroup(const RoutingHalves& counts, SelectionRule rule, double p);
// The group's set against what was counted on other text.
HeldOutScore ScoreHeldOut(const ExpertGroup& group, const RoutingCounts& held_out);

// Letters, digits, '_', '-' and '.', at most 64: names are listed with commas.
Status CheckGroupName(std::string_view name);

struct GroupsFile {
  ModelFingerprint model;
  std::vector<ExpertGroup> groups;

  // `name` is for messages.
  static Result<GroupsFile> Parse(std::string_view text, const std::string& name);
  static Result<GroupsFile> Load(const std::string& path);
  // What Parse reads; the profile's numbers rounded to kProfileDecimals.
  std::string ToJson() const;
  // Written beside `path` and renamed.
  Status Save(const std::string& path) const;

  // The group of that name; the error lists the names there are.
  Result<const ExpertGroup*> Find(std::string_view name) const;
  // Replaces the group of that name or appends; true when it replaced.
  bool Put(ExpertGroup group);
  // Fails when this is a file of another model.
  Status CheckModel(const ModelFingerprint& model) const;
};

// A group as one JSON object, as the file has it.
std::string GroupToJson(const ExpertGroup& group);

// Where a model's groups are: MODEL.experts.json for MODEL.gguf (of a split set too), experts.json inside a
// folder. A trailing slash is fine.
std::string GroupsPathOf(const std::string& model_path);

}  // namespace deepshock
