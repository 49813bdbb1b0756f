// SPDX-License-Identifier: Apache-2.0
// A fingerprint of a loaded model that stays the same when the model is stored another way (another
// container, repacked, other number formats), so that what was measured about its experts can be matched with
// it (experts/groups.h). For each MoE layer it holds the signs of 64 random projections of a part of the
// router (Charikar, STOC 2002: signs of two vectors differ in proportion to the angle between them). Reads a
// few kilobytes a layer.
#pragma once

#include "experts/groups.h"
#include "model/spec.h"
#include "model/weights.h"

namespace deepshock {

// No routers for a dense model.
ModelFingerprint FingerprintOf(const ModelSpec& spec, const ModelWeights& weights);

// The groups beside the model (`path`: GroupsPathOf(model path), or a file the user named), checked to be
// this model's.
Result<GroupsFile> LoadGroups(const std::string& path, const ModelSpec& spec, const ModelWeights& weights);

}  // namespace deepshock
