// SPDX-License-Identifier: Apache-2.0
// How fast a model computes here, and how near that is to what the machine could do. Owns the sequences it
// computes; runs forward passes on random tokens, without sampling. Repetitions go round all tests, so that a
// machine whose memory speed drifts treats them alike, and each is measured between two probes of that speed.
// Callers: `deepshock bench`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/peak.h"
#include "model/model.h"

namespace deepshock {

struct BenchTest {
  enum class Kind { kPrefill, kDecode };
  Kind kind = Kind::kPrefill;
  int num_sequences = 1;
  int64_t tokens = 0;  // timed, of each sequence
  int64_t depth = 0;   // tokens already in each sequence when the clock starts

  // "pp:512" a prompt of 512 tokens; "tg:64" or "tg:64:2048" 64 tokens one by one, after 2048 others;
  // "batch:8:32" or "batch:8:32:128" 8 sequences decoded together.
  static Result<BenchTest> Parse(std::string_view text);
  std::string Name() const;  // as Parse takes it
};
// Separated by commas.
Result<std::vector<BenchTest>> ParseBenchTests(std::string_view text);
// A prompt of 512 tokens, decoding at depth 0 and 2048, 8 and 32 sequences together; shorter where the
// model's context is.
std::vector<BenchTest> DefaultBenchTests(int64_t context_length);

struct BenchOptions {
  std::vector<BenchTest> tests;
  int repetitions = 5;
  KvType kv_type = KvType::kQ16;
  int64_t prefill_chunk = 512;    // prompt tokens in one pass
  int64_t probe_bytes = 1 << 30;  // read to measure memory's speed
  double peak_seconds = 0.2;      // for each of the two peaks
  uint64_t seed = 1;              // of the tokens
  // What is being measured, before each repetition. May be empty; false stops the work.
  std::function<bool(int64_t done, int64_t total, const std::string& test)> progress;
};

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread SpreadOf(std::vector<double> values);  // at least one

struct BenchResult {
  BenchTest test;
  std::vector<double> tokens_per_second;  // one a repetition
  Spread rate;                            // of them
  double pass_ms = 0;                     // median, of one forward pass
  // Read for one token: the weights that a pass of this shape touches (experts as the router chose them) and
  // the states, each once a pass. Activations are not counted.
  double bytes_per_token = 0;
  // Multiplications and additions of the weights for one token; attention over the context is not counted.
  double ops_per_token = 0;
  double bandwidth = 0;        // bytes a second, median
  double bandwidth_share = 0;  // of what the probes around read, median over repetitions
  double ops = 0;              // a second, median
};

struct BenchReport {
  Spread read_bandwidth;  // bytes a second, of all probes
  PeakRates peak;
  std::vector<BenchResult> results;  // in the order of options.tests
};

// What the machine could do, without results.
BenchReport MeasureCeilings(Compute& compute, int64_t probe_bytes);

// `model` and `compute` as for Model::Forward. Fails when a test does not fit in the model's context.
Result<BenchReport> RunBenchmark(const Model& model, Compute& compute, const BenchOptions& options);

}  // namespace deepshock
