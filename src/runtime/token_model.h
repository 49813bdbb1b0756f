// SPDX-License-Identifier: Apache-2.0
// What the scheduler needs of a model. LoadedModel is the real one; tests bring their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "experts/routing_sink.h"
#include "model/model.h"

namespace deepshock {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // As Model::Forward: appends each chunk to its state; on failure no state has changed.
  virtual Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                         ForwardOutput* output) = 0;
  // As Model::Begin; only where passes can be interrupted.
  virtual Result<std::unique_ptr<ForwardPass>> Begin(std::span<const SequenceChunk> /*chunks*/,
                                                     ForwardObserver* /*observer*/) {
    return Fail("the model computes whole passes only");
  }
  virtual bool can_interrupt() const { return false; }
  // As Model::ForwardMtp; only where there is an MTP layer.
  virtual Status ForwardMtp(std::span<const MtpChunk> /*chunks*/, ForwardOutput* /*output*/) {
    return Fail("the model has no multi-token-prediction layer");
  }
  virtual bool has_mtp() const { return false; }
  // What its routers are made for; a dense model has none.
  virtual RoutingShape routing_shape() const { return {}; }
  virtual StateSpec state_spec() const = 0;
  // The last so many of its layers are those of multi-token prediction.
  virtual int num_draft_layers() const { return 0; }
  // Whether a token's result, bit by bit, may depend on which tokens were computed in the same pass for its
  // sequence. Then only what was cut the same way is the same.
  virtual bool depends_on_chunks() const { return true; }
  virtual int64_t vocab_size() const = 0;
  virtual int64_t context_length() const = 0;
  // What the states of sequences take their memory from; null: no limit.
  virtual MemoryBudget* memory_budget() const { return nullptr; }
};

inline RoutingShape RoutingShapeOf(const ModelSpec& spec) {
  RoutingShape shape{spec.router.num_experts, spec.router.top_k, {}};
  for (int l = 0; l < spec.num_layers(); ++l) {
    if (spec.layers[static_cast<size_t>(l)].is_moe) shape.layers.push_back(l);
  }
  return shape;
}

class LoadedModel final : public TokenModel {
 public:
  // Both must outlive this. context_length: at most the model's.
  LoadedModel(const Model& model, Compute& compute, int64_t context_length, KvType kv_type = KvType::kF32)
      : model_(model), compute_(compute), context_length_(context_length), kv_type_(kv_type) {}
  Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                 ForwardOutput* output) override {
    return model_.Forward(compute_, chunks, observer, output);
  }
  Result<std::unique_ptr<ForwardPass>> Begin(std::span<const SequenceChunk> chunks,
                                             ForwardObserver* observer) override {
    return model_.Begin(compute_, chunks, observer);
  }
  // Where experts come from disk, a pass in between would push out what was read for this one.
  bool can_interrupt() const override { return model_.memory().store == nullptr; }
  Status ForwardMtp(std::span<const MtpChunk> chunks, ForwardOutput* output) override {
    return model_.ForwardMtp(compute_, chunks, output);
  }
  bool has_mtp() const override { return model_.has_mtp(); }
  RoutingShape routing_shape() const override { return RoutingShapeOf(model_.spec()); }
  StateSpec state_spec() const override { return model_.state_spec(kv_type_); }
  int num_draft_layers() const override { return static_cast<int>(model_.weights().mtp.size()); }
  // MLA computes many rows of a sequence with keys and values expanded, and few in latent space.
  bool depends_on_chunks() const override {
    return model_.spec().attention.kind == AttentionKind::kLatent;
  }
  int64_t vocab_size() const override { return model_.spec().vocab_size; }
  int64_t context_length() const override { return context_length_; }
  MemoryBudget* memory_budget() const override { return model_.memory().budget.get(); }

 private:
  const Model& model_;
  Compute& compute_;
  int64_t context_length_;
  KvType kv_type_;
};

}  // namespace deepshock
