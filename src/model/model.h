// SPDX-License-Identifier: Apache-2.0
// A loaded model: its spec, its weights (views into mapped files) and the forward pass.
// Loading checks every tensor's presence, shape and type before anything is computed. A Model is immutable
// once loaded; Forward may be called from one thread at a time with one Compute.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/router.h"
#include "model/spec.h"
#include "model/state.h"
#include "model/weights.h"

namespace deepshock {

class ExpertStore;
class MemoryBudget;

// Some tokens of one sequence, to be appended to its state.
struct SequenceChunk {
  KvView* kv = nullptr;
  std::span<const int32_t> tokens;
  bool all_logits = false;                  // logits of every token, or of the last only
  const RoutingControl* control = nullptr;  // how its tokens are routed otherwise; null: as the model does
};

// What the routers chose for a batch of T rows in one layer.
struct RoutingView {
  int layer;
  int64_t num_tokens;             // T
  int num_chosen;                 // K
  std::span<const float> logits;  // [T, E] before scoring, bias included where the router has one
  // [T, K], descending by selection score; -1: left out by a control, behind those that remain
  std::span<const int32_t> experts;
  std::span<const float> weights;          // [T, K] as applied; 0 where left out
  std::span<const RoutingChange> changes;  // [T] what controls made of it; empty: no row has one
};

// Receives intermediate results as they are computed, on the thread that called Forward.
class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  // index 0: embeddings; i + 1: output of layer i; the last one (index L) after the final norm. [T, H]
  virtual void OnHiddenState(int index, std::span<const float> hidden) { (void)index, (void)hidden; }
  virtual void OnRouting(const RoutingView& routing) { (void)routing; }
};

struct ForwardOutput {
  std::vector<float> logits;  // [R, V]: for each chunk in order, its last token or all its tokens
  // [T, H] after the final norm, every token (what an MTP layer reads); of ForwardMtp [R, H]
  std::vector<float> hidden;
};

// A pass that is computed layer by layer, so that other passes can be computed in between.
class ForwardPass {
 public:
  virtual ~ForwardPass() = default;
  virtual int layers_left() const = 0;
  // Computes the next layer. When it fails, no state has changed and the pass is over.
  virtual Status RunLayer() = 0;
  // After the last layer: appends the chunks to their states.
  virtual void Finish(ForwardOutput* output) = 0;
};

// Some positions p .. p+T-1 of one sequence for the MTP layer, whose logits speak about p+2 .. p+T+1.
struct MtpChunk {
  KvView* kv = nullptr;
  // The first of the T rows of the state's MTP layer to be written; those before it are read. Rows number
  // what the layer has seen: only the distances between them matter, so row 0 may stand for any position.
  int64_t first_row = 0;
  std::span<const float> hidden;         // [T, H] ForwardOutput::hidden at p .. p+T-1
  std::span<const int32_t> next_tokens;  // [T] the tokens at p+1 .. p+T
  bool all_logits = false;               // results of every position, or of the last only
};

// A hard limit for a model's weights and the states of its sequences together.
struct MemoryLimit {
  int64_t bytes = 0;              // 0: none; weights are mapped or rearranged, and states grow as they like
  KvType kv_type = KvType::kQ16;  // of the states
  int64_t least_tokens = 128;     // a limit that leaves no room for such a state is refused
  std::string policy = "auto";    // which experts stay in memory (experts/cache_policy.h)
};

// How a model lies in memory under a limit. All empty without one.
struct ModelMemory {
  std::shared_ptr<ExpertStore> store;  // brings routed experts from disk; null where all weights are at hand
  std::shared_ptr<MemoryBudget> budget;  // what is left, for states
  int64_t resident_bytes = 0;            // of the weights that never leave
};

struct LoadOptions {
  // Bring quantised weights into the kernels' layout, to be multiplied by activations in 8 bits: several
  // times faster, and lossy in the activations. Otherwise weights stay as stored and activations float32.
  bool interleave = false;
  ThreadPool* pool = nullptr;  // what interleaving runs on
  // Where the weights do not fit, the file must be a repacked one, whose experts then are read as needed.
  MemoryLimit memory = {};
};

class Model {
 public:
  // `path`: a Hugging Face folder or a .gguf file (of a split model, any part).
  static Result<std::unique_ptr<Model>> Load(const std::string& path, const LoadOptions& options = {});

  const ModelSpec& spec() const { return spec_; }
  const ModelWeights& weights() const { return weights_; }
  const ModelMemory& memory() const { return memory_; }
  // What a sequence's state is made of; kF32 keeps keys and values exactly.
  StateSpec state_spec(KvType type = KvType::kF32) const;

  // Computes all chunks in one pass and appends them to their states. Chunks must be of different sequences.
  // Fails when a token id is outside the vocabulary, a state lacks room or an expert cannot be read; then no
  // state has changed.
  Status Forward(Compute& compute, std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                 ForwardOutput* output) const;

  // The same in pieces. What the chunks point to, the observer and their states must outlive the pass, and
  // nothing else may change those states meanwhile.
  Result<std::unique_ptr<ForwardPass>> Begin(Compute& compute, std::span<const SequenceChunk> chunks,
                                             ForwardObserver* observer) const;

  // Runs MTP layer 0 over all chunks in one pass. A hidden state that comes out can be fed back with the
  // token that its logits chose, to draft one token further. Leaves KvView::length alone.
  Status ForwardMtp(Compute& compute, std::span<const MtpChunk> chunks, ForwardOutput* output) const;
  bool has_mtp() const { return !weights_.mtp.empty(); }

 private:
  Model() = default;
  // Brings what `source` has found to where it is computed from.
  Status LoadWeights(const std::string& path, const class WeightSource& source, bool is_repacked,
                     const LoadOptions& options);
  ModelSpec spec_;
  ModelWeights weights_;
  ModelMemory memory_;
};

}  // namespace deepshock
