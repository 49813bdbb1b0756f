// SPDX-License-Identifier: Apache-2.0
// The files of Expert-Specialized Fine-Tuning (github.com/deepseek-ai/ESFT), read and written:
//   expert_weights_<layer>.txt  a line a sample: expert ids, an empty field, as many gate weights, separated
//   by
//                               tabs; K (expert, weight) pairs for each token of the sample
//   summary.json                {"token_scores": {LAYER: {EXPERT: SCORE}}, "gate_scores": ...}, 4 decimals
//   CONFIG.json                 {"experts": {LAYER: [EXPERT, ...]}, "shared_experts": false,
//                               "non_expert_modules": false}
// Layers are keys in lexicographic order ("1", "10", "11", ..., "2"), as published.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "experts/profile.h"
#include "experts/selection.h"

namespace deepshock {

// Adds one line, without its end, to the counts of `layer`. Ids are checked against counts->num_experts(),
// and pairs must make whole tokens of top_k different experts. On an error the counts hold a part of the
// line.
Status AddScoreLine(std::string_view line, int32_t layer, RoutingCounts* counts);

// A whole file, lines as records of the two halves. The file is mapped; nothing is kept of it.
Status AddScoreFile(const std::string& path, int32_t layer, RoutingHalves* counts);

struct ScoreFolder {
  RoutingHalves counts;
  int num_files = 0;
  int64_t bytes = 0;
};
// Every expert_weights_<layer>.txt of a folder, each on one thread. All must hold equally many tokens.
Result<ScoreFolder> ReadScoreFolder(const std::string& folder, int num_experts, int top_k, ThreadPool& pool);

// What summary.json holds, byte for byte as Python's json.dumps writes it.
std::string EsftSummaryJson(const ExpertProfile& profile);
// What CONFIG.json holds, the same way.
std::string EsftConfigJson(const ExpertSelection& selection);

}  // namespace deepshock
