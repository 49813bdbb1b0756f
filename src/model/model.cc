// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include <algorithm>
#include <set>

#include "model/attention.h"
#include "tensor/codec.h"

namespace deepshock {

void AddRows(const Rope& rope, KvView* kv, int64_t first_position, int64_t count, Batch* batch) {
  for (int64_t i = 0; i < count; ++i) {
    batch->rows.push_back({kv, first_position + i, batch->angles.size()});
    batch->angles.push_back(rope.At(first_position + i));
  }
}

Status DecoderLayer(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int layer_index,
                    const Batch& batch, float* x) {
  const ModelSpec& spec = context.spec;
  const int64_t num_tokens = batch.size(), size = num_tokens * spec.hidden;
  const auto eps = static_cast<float>(spec.norm_eps);
  std::vector<float> normed(static_cast<size_t>(size)), out(static_cast<size_t>(size));
  RmsNorm(context.compute, w.attn_norm, eps, x, num_tokens, normed.data());
  if (spec.attention.kind == AttentionKind::kLatent) {
    LatentAttention(context, w, layer_index, batch, normed.data(), out.data());
  } else {
    GroupedAttention(context, w, layer, layer_index, batch, normed.data(), out.data());
  }
  context.compute.kernels->axpy(1.0f, out.data(), x, size);
  RmsNorm(context.compute, w.ffn_norm, eps, x, num_tokens, normed.data());
  DS_RETURN_IF_ERROR(FeedForward(context, w, layer, layer_index, num_tokens, normed.data(), out.data()));
  context.compute.kernels->axpy(1.0f, out.data(), x, size);
  return {};
}

namespace {

// x [T, H]
std::vector<float> Embed(const Compute& compute, const Matrix& embedding, std::span<const int32_t> tokens) {
  std::vector<float> x(tokens.size() * static_cast<size_t>(embedding.cols));
  for (size_t t = 0; t < tokens.size(); ++t) {
    float* to = x.data() + t * static_cast<size_t>(embedding.cols);
    if (embedding.interleaved) {
      DecodeRow(embedding, tokens[t], to);  // a tied head
    } else {
      compute.kernels->decode_row(embedding, tokens[t], to);
    }
  }
  return x;
}

Status CheckTokens(std::span<const int32_t> tokens, int64_t vocab_size) {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size) {
      return Fail("token id {}: expected 0 to {}, the model's vocabulary", token, vocab_size - 1);
    }
  }
  return {};
}

Status CheckChunks(std::span<const SequenceChunk> chunks, int64_t vocab_size) {
  std::set<const KvView*> seen;
  for (const SequenceChunk& chunk : chunks) {
    DS_CHECK(chunk.kv != nullptr && !chunk.tokens.empty(), "a chunk has a state and at least one token");
    DS_CHECK(seen.insert(chunk.kv).second, "chunks of one pass belong to different sequences");
    DS_RETURN_IF_ERROR(CheckTokens(chunk.tokens, vocab_size));
    DS_CHECK(chunk.kv->type == chunks.front().kv->type, "states of one pass are of one type");
    const int64_t wanted = chunk.kv->length + static_cast<int64_t>(chunk.tokens.size());
    if (wanted > chunk.kv->capacity) {
      return Fail("context: expected at most {} tokens, found {}", chunk.kv->capacity, wanted);
    }
  }
  return {};
}

// [T], or empty where no chunk has a control.
std::vector<const RoutingControl*> RowControls(std::span<const SequenceChunk> chunks) {
  std::vector<const RoutingControl*> controls;
  if (std::ranges::all_of(chunks, [](const SequenceChunk& c) { return c.control == nullptr; }))
    return controls;
  for (const SequenceChunk& chunk : chunks)
    controls.insert(controls.end(), chunk.tokens.size(), chunk.control);
  return controls;
}

class ModelPass final : public ForwardPass {
 public:
  // The chunks are checked.
  ModelPass(const Model& model, Compute& compute, std::span<const SequenceChunk> chunks,
            ForwardObserver* observer)
      : model_(model),
        spec_(model.spec()),
        compute_(compute),
        chunks_(chunks.begin(), chunks.end()),
        observer_(observer),
        controls_(RowControls(chunks)),
        rope_(spec_.rope) {
    std::vector<int32_t> tokens;
    for (const SequenceChunk& chunk : chunks_) {
      AddRows(rope_, chunk.kv, chunk.kv->length, static_cast<int64_t>(chunk.tokens.size()), &batch_);
      tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    }
    x_ = Embed(compute_, model_.weights().embedding, tokens);
  }

  int layers_left() const override { return spec_.num_layers() - layer_; }

  Status RunLayer() override {
    const auto l = static_cast<size_t>(layer_);
    const std::vector<LayerWeights>& layers = model_.weights().layers;
    ForwardContext context{compute_, spec_, rope_, executor_, observer_, model_.memory().store.get(), controls_,
                           &layers};
    if (observer_ != nullptr) observer_->OnHiddenState(layer_, x_);
    DS_RETURN_IF_ERROR(DecoderLayer(context, layers[l], spec_.layers[l], layer_, batch_, x_.data()));
    ++layer_;
    return {};
  }

  void Finish(ForwardOutput* output) override {
    DS_CHECK(layers_left() == 0, "all layers have run");
    const ModelWeights& weights = model_.weights();
    RmsNorm(compute_, weights.output_norm, static_cast<float>(spec_.norm_eps), x_.data(), batch_.size(),
            x_.data());
    if (observer_ != nullptr) observer_->OnHiddenState(spec_.num_layers(), x_);

    const int64_t hidden = spec_.hidden;
    std::vector<float> wanted;  // [R, H]
    int64_t row = 0;
    for (const SequenceChunk& chunk : chunks_) {
      const auto count = static_cast<int64_t>(chunk.tokens.size());
      const int64_t first = chunk.all_logits ? row : row + count - 1;
      row += count;
      wanted.insert(wanted.end(), x_.begin() + first * hidden, x_.begin() + row * hidden);
      chunk.kv->length += count;
    }
    const int64_t num_wanted = static_cast<int64_t>(wanted.size()) / hidden;
    output->logits.resize(static_cast<size_t>(num_wanted * spec_.vocab_size));
    MatMul(compute_, weights.head, {}, wanted.data(), num_wanted, output->logits.data());
    output->hidden = std::move(x_);
  }

 private:
  const Model& model_;
  const ModelSpec& spec_;
  Compute& compute_;
  const std::vector<SequenceChunk> chunks_;
  ForwardObserver* const observer_;
  const std::vector<const RoutingControl*> controls_;  // [T], or empty
  const Rope rope_;
  LocalExecutor executor_;
  Batch batch_;
  std::vector<float> x_;  // [T, H]
  int layer_ = 0;
};

}  // namespace

StateSpec Model::state_spec(KvType type) const {
  StateSpec state;
  state.layers.assign(weights_.layers.size() + weights_.mtp.size(), StateLayout(spec_.attention, type));
  return state;
}

Result<std::unique_ptr<ForwardPass>> Model::Begin(Compute& compute, std::span<const SequenceChunk> chunks,
                                                  ForwardObserver* observer) const {
  DS_RETURN_IF_ERROR(CheckChunks(chunks, spec_.vocab_size));
  return std::unique_ptr<ForwardPass>(std::make_unique<ModelPass>(*this, compute, chunks, observer));
}

Status Model::Forward(Compute& compute, std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                      ForwardOutput* output) const {
  DS_RETURN_IF_ERROR(CheckChunks(chunks, spec_.vocab_size));
  ModelPass pass(*this, compute, chunks, observer);
  while (pass.layers_left() > 0) DS_RETURN_IF_ERROR(pass.RunLayer());
  pass.Finish(output);
  return {};
}

Status Model::ForwardMtp(Compute& compute, std::span<const MtpChunk> chunks, ForwardOutput* output) const {
  if (!has_mtp()) return Fail("the checkpoint has no multi-token-prediction layer");
  const int64_t h = spec_.hidden;
  const MtpWeights& mtp = weights_.mtp[0];
  const auto eps = static_cast<float>(spec_.norm_eps);
  const Rope rope(spec_.rope);
  LocalExecutor executor;
  ForwardContext context{compute, spec_, rope, executor, nullptr, memory_.store.get()};
  Batch batch;
  std::vector<int32_t> tokens;
  std::vector<float> normed;  // [T, H]
  for (const MtpChunk& chunk : chunks) {
    const auto count = static_cast<int64_t>(chunk.next_tokens.size());
    DS_CHECK(count > 0 && static_cast<int64_t>(chunk.hidden.size()) == count * h, "one hidden state a token");
    DS_CHECK(chunk.first_row + count <= chunk.kv->capacity, "the state has room");
    DS_RETURN_IF_ERROR(CheckTokens(chunk.next_tokens, spec_.vocab_size));
    AddRows(rope, chunk.kv, chunk.first_row, count, &batch);
    tokens.insert(tokens.end(), chunk.next_tokens.begin(), chunk.next_tokens.end());
    normed.insert(normed.end(), chunk.hidden.begin(), chunk.hidden.end());
  }
  const int64_t num_tokens = batch.size();

  // eh_proj reads [normed embedding | normed hidden] (DeepSeek-V3, arXiv 2412.19437, equation 21).
  std::vector<float> embedded = Embed(compute, mtp.embedding ? mtp.embedding : weights_.embedding, tokens);
  RmsNorm(compute, mtp.embedding_norm, eps, embedded.data(), num_tokens, embedded.data());
  RmsNorm(compute, mtp.hidden_norm, eps, normed.data(), num_tokens, normed.data());
  std::vector<float> joined(static_cast<size_t>(num_tokens * 2 * h));
  for (int64_t t = 0; t < num_tokens; ++t) {
    std::copy_n(embedded.begin() + t * h, h, joined.begin() + t * 2 * h);
    std::copy_n(normed.begin() + t * h, h, joined.begin() + t * 2 * h + h);
  }
  std::vector<float> x(normed.size());
  MatMul(compute, mtp.projection, {}, joined.data(), num_tokens, x.data());
  DS_RETURN_IF_ERROR(DecoderLayer(context, mtp.layer, spec_.mtp_layer, spec_.num_layers(), batch, x.data()));

  output->hidden.clear();
  int64_t row = 0;
  for (const MtpChunk& chunk : chunks) {
    const auto count = static_cast<int64_t>(chunk.next_tokens.size());
    const int64_t first = chunk.all_logits ? row : row + count - 1;
    row += count;
    output->hidden.insert(output->hidden.end(), x.begin() + first * h, x.begin() + row * h);
  }
  const int64_t num_wanted = static_cast<int64_t>(output->hidden.size()) / h;
  RmsNorm(compute, mtp.head_norm, eps, output->hidden.data(), num_wanted, output->hidden.data());
  output->logits.resize(static_cast<size_t>(num_wanted * spec_.vocab_size));
  MatMul(compute, mtp.head ? mtp.head : weights_.head, {}, output->hidden.data(), num_wanted,
         output->logits.data());
  return {};
}

}  // namespace deepshock
