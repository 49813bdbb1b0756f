// SPDX-License-Identifier: Apache-2.0
// Models with random weights in the shape of published ones, so that speed can be measured without a
// download. The file is a complete GGUF that llama.cpp loads too: metadata of the family, a small byte-level
// vocabulary, every tensor. Blocks are drawn directly in their stored format, scaled so that activations stay
// near 1; text that such a model continues is noise. The same shape, types, layers and seed give the same
// bytes on any number of threads. Constant memory. Callers: `deepshock synth`, tests; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "model/spec.h"
#include "model/weights.h"
#include "runtime/gguf_layout.h"

namespace deepshock {

struct SynthShape {
  std::string_view name;     // "deepseek-v2-lite"
  std::string_view summary;  // "15.7 B parameters, 2.7 B active: MLA, 64 experts"
  std::string_view config;   // config.json as published
};
// Smallest first.
std::span<const SynthShape> SynthShapes();

// The spec of a shape by name, with its last layers left out where num_layers > 0. The leading dense layers
// stay, so does an MTP layer. The error for an unknown name lists the known ones.
Result<ModelSpec> SynthSpec(std::string_view shape, int num_layers);

// Which type each weight gets.
struct SynthTypes {
  // "q4_0": the type of all matrices, the output head one better (q6_k), as llama.cpp's quantiser has it.
  // "q4_k_m": its mixture: q6_k for the head and for half of the value and down projections, q4_k for the
  // rest. "experts=mxfp4,q8_0": classes of tensors (runtime/gguf_layout.h), then the rest.
  static Result<SynthTypes> Parse(std::string_view text);

  DType rest = DType::kQ8_0;
  bool medium = false;       // of rest: more bits for half of the value and down projections
  bool better_head = false;  // q6_k for the output head
  std::optional<DType> classes[kNumTensorClasses];
};

// One tensor of the file.
struct SynthTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;  // outermost first
  double mean = 0;            // of the values
  double deviation = 0;       // standard deviation
};
// All tensors in file order. Rows that do not divide into a type's blocks get the next larger type that fits.
std::vector<SynthTensor> PlanSynth(const ModelSpec& spec, const SynthTypes& types);

struct SynthOptions {
  std::string name;  // general.name
  uint64_t seed = 1;
  std::function<bool(int64_t done_bytes, int64_t total_bytes)>
      progress;  // may be empty; false stops the work
};

struct SynthReport {
  int64_t bytes = 0;  // of tensors
  int64_t parameters = 0;
  std::map<std::string, int64_t> bytes_by_type;
};
// Writes beside `output` and renames.
Result<SynthReport> WriteSynth(const ModelSpec& spec, const SynthTypes& types, const SynthOptions& options,
                               ThreadPool& pool, const std::string& output);

// Fills `blocks` of one type with random values of the given mean (of types without blocks) and deviation.
// The same (seed, piece) give the same bytes. In synth_blocks.cc.
class BlockSource {
 public:
  BlockSource(DType dtype, double mean, double deviation);
  void Fill(uint64_t seed, uint64_t piece, std::span<std::byte> blocks) const;

 private:
  void FillFloats(uint64_t seed, std::span<std::byte> out) const;
  void FillBlocks(uint64_t seed, std::span<std::byte> out) const;

  DType dtype_;
  float mean_;
  float deviation_;
  uint16_t scales_[16] = {};   // F16, both signs; a block takes one of them (MXFP4: of 2 exponents)
  uint16_t seconds_[16] = {};  // the second scale (min) that goes with it
};

}  // namespace deepshock
