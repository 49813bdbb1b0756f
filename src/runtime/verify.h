// SPDX-License-Identifier: Apache-2.0
// Comparing a model with reference outputs: the golden.safetensors that `deepshock verify` runs.
//
// Tensors read (T tokens, V vocabulary, L layers, H hidden, E experts, K chosen); all but input_ids are
// optional:
//   input_ids [1, T]            prompt
//   logits [T, V]               of one pass without a cache
//   hidden_states [L+1, T, H]   embeddings, each layer's output, the last one after the final norm
//   router.<module>.0|1|2       logits [T, E], weights [T, K], indices int32 [T, K]; the layer is the number
//   in
//                               <module>; the order of the K does not count
//   greedy [P + 24]             a prompt and 24 tokens generated greedily from it
//   greedy_logits [P + 24, V]   of that sequence
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "formats/safetensors.h"
#include "model/model.h"

namespace deepshock {

struct VerifyOptions {
  double logit_tolerance = 2e-4;   // absolute
  double hidden_tolerance = 2e-4;  // times max(1, largest reference value)
  double router_tolerance = 2e-4;  // absolute, on router logits and weights
};

struct VerifyCheck {
  std::string name;  // "logits", "experts layer 1"
  bool passed = false;
  double max_error = 0;  // largest absolute difference; for experts and tokens the number that differ
  double tolerance = 0;
  std::string detail;  // "48 x 512 values", and where the largest error is
};

// Runs every check that `golden` holds data for. Fails when a tensor's shape does not fit the model, or when
// there is nothing to check.
Result<std::vector<VerifyCheck>> VerifyModel(const Model& model, Compute& compute,
                                             const SafetensorsFile& golden, const VerifyOptions& options);

}  // namespace deepshock
