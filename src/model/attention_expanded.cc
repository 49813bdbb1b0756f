// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention with keys and values expanded, for prompts: a query meets nope + rope and v
// numbers a token instead of 2 kv_rank + rope, for the price of expanding every token once a pass.
// Interleaved expansion weights meet the latents in 8 bits. Products with others run through the attention
// kernels, latents as queries and weight rows as keys. The expanded tokens are kept in the type that
// attention is fastest with.
#include <algorithm>
#include <cstring>

#include "model/attention.h"

namespace deepshock {
namespace {

constexpr int64_t kMinRows = 16;  // more than speculation ever checks
constexpr int64_t kMostBytes = int64_t{256}
                               << 20;  // of expanded tokens; past that latents are cheaper to hold

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

class Expansion {
 public:
  Expansion(Compute& compute, const AttentionSpec& a, const LayerWeights& w, const KvLayout& latents,
            const AttentionRows& rows)
      : compute_(compute),
        kernels_(compute.attention != nullptr ? *compute.attention : AttentionFor(*compute.kernels)),
        a_(a),
        latents_(latents),
        rows_(rows),
        w_(w),
        num_groups_(CeilDiv(rows.first_position + rows.num_rows, kKvGroup)) {
    const KvType type = latents.type == KvType::kF32 ? KvType::kF32 : kernels_.fast_type;
    weights_ = {type, 1, a.kv_lora_rank, 0, 0, true};
    expanded_ = {type, a.num_heads, int64_t{a.nope_dim} + a.rope_dim, a.v_head_dim, 0, false};
    if (w.kv_b.interleaved) {
      QuantizeLatents();
    } else {
      PackWeights(w);
      PackLatents();
    }
    ExpandTokens();
  }
  const KvLayout& layout() const { return expanded_; }
  std::byte* state() { return tokens_.data(); }

 private:
  int64_t KeyGroups() const { return CeilDiv(a_.nope_dim, kKvGroup); }
  int64_t ValueGroups() const { return CeilDiv(a_.v_head_dim, kKvGroup); }
  int64_t HeadBytes() const { return (KeyGroups() + ValueGroups()) * weights_.head_bytes(); }

  // Every head's weight rows as stored keys: groups of key rows, then of value rows.
  void PackWeights(const LayerWeights& w) {
    const int64_t rank = a_.kv_lora_rank, rows = int64_t{a_.nope_dim} + a_.v_head_dim;
    packed_weights_ = compute_.buffers.Borrow<std::byte>(a_.num_heads * HeadBytes());
    auto decoded = compute_.buffers.Borrow<float>(compute_.pool->num_threads() * rows * rank);
    compute_.pool->ParallelFor(a_.num_heads, 1, [&](int64_t head, int64_t, int thread) {
      float* keys = decoded.data() + thread * rows * rank;
      float* values = keys + a_.nope_dim * rank;
      DecodeExpansion(compute_, thread, a_, w, head, keys, values);
      std::byte* to = packed_weights_.data() + head * HeadBytes();
      to = Pack(keys, a_.nope_dim, to);
      Pack(values, a_.v_head_dim, to);
    });
  }
  std::byte* Pack(const float* rows, int64_t count, std::byte* to) const {
    for (int64_t n = 0; n < count; n += kKvGroup, to += weights_.head_bytes()) {
      kernels_.store_group(weights_, rows + n * a_.kv_lora_rank, a_.kv_lora_rank, nullptr, 0,
                           std::min(kKvGroup, count - n), to);
    }
    return to;
  }

  // The stored latents in 8 bits, and their rotary parts in float32.
  void QuantizeLatents() {
    const int64_t pad = latents_.key_pad(), rank = a_.kv_lora_rank;
    quantized_ = QuantizedBuffer(compute_, num_groups_ * kKvGroup, rank);
    rotary_ = compute_.buffers.Borrow<float>(num_groups_ * kKvGroup * a_.rope_dim);
    const QuantizedRows& to = quantized_.rows();
    compute_.pool->ParallelFor(num_groups_, 1, [&](int64_t group, int64_t, int thread) {
      float* key = compute_.Scratch(thread, pad);
      for (int64_t token = group * kKvGroup; token < (group + 1) * kKvGroup; ++token) {
        LoadKey(latents_, rows_.state + group * latents_.group_bytes(), token % kKvGroup, key);
        QuantizeBlocks(*compute_.kernels, key, 0, to.num_blocks, token, to);
        std::memcpy(rotary_.data() + token * a_.rope_dim, key + latents_.first_pad(),
                    static_cast<size_t>(a_.rope_dim) * sizeof(float));
      }
    });
  }

  // The stored latents as queries of the weights, and their rotary parts in float32.
  void PackLatents() {
    const int64_t pad = latents_.key_pad(), query_bytes = QueryBytes(weights_);
    packed_latents_ = compute_.buffers.Borrow<std::byte>(num_groups_ * kKvGroup * query_bytes);
    rotary_ = compute_.buffers.Borrow<float>(num_groups_ * kKvGroup * a_.rope_dim);
    compute_.pool->ParallelFor(num_groups_, 1, [&](int64_t group, int64_t, int thread) {
      float* key = compute_.Scratch(thread, pad);
      for (int64_t slot = 0; slot < kKvGroup; ++slot) {
        LoadKey(latents_, rows_.state + group * latents_.group_bytes(), slot, key);
        const int64_t token = group * kKvGroup + slot;
        kernels_.pack_query(weights_, key, 1, packed_latents_.data() + token * query_bytes);
        std::memcpy(rotary_.data() + token * a_.rope_dim, key + latents_.first_pad(),
                    static_cast<size_t>(a_.rope_dim) * sizeof(float));
      }
    });
  }

  void ExpandTokens() {
    constexpr int64_t kGroups = 4;  // in a task: some hundred microseconds
    tokens_ = compute_.buffers.Borrow<std::byte>(num_groups_ * expanded_.group_bytes());
    const int64_t key_dim = expanded_.key_dim, v = a_.v_head_dim, tasks = CeilDiv(num_groups_, kGroups);
    compute_.pool->ParallelFor(a_.num_heads * tasks, 1, [&](int64_t at, int64_t, int thread) {
      const int64_t head = at / tasks, first = at % tasks * kGroups;
      float* keys = compute_.Scratch(thread, kKvGroup * (key_dim + v + kKvBlock));
      float* values = keys + kKvGroup * key_dim;
      for (int64_t group = first; group < std::min(first + kGroups, num_groups_); ++group) {
        if (w_.kv_b.interleaved) {
          MultiplyQuantized(head, group, keys, values);
        } else {
          const std::byte* weights = packed_weights_.data() + head * HeadBytes();
          const std::byte* queries = packed_latents_.data() + group * kKvGroup * QueryBytes(weights_);
          Multiply(weights, a_.nope_dim, queries, key_dim, keys, values + kKvGroup * v);
          Multiply(weights + KeyGroups() * weights_.head_bytes(), v, queries, v, values,
                   values + kKvGroup * v);
        }
        for (int64_t slot = 0; slot < kKvGroup; ++slot) {
          std::memcpy(keys + slot * key_dim + a_.nope_dim,
                      rotary_.data() + (group * kKvGroup + slot) * a_.rope_dim,
                      static_cast<size_t>(a_.rope_dim) * sizeof(float));
        }
        kernels_.store_group(
            expanded_, keys, key_dim, values, v, kKvGroup,
            tokens_.data() + group * expanded_.group_bytes() + head * expanded_.head_bytes());
      }
    });
  }

  // One head's keys [32, nope + rope] without the rotary part and values [32, v] of a group of tokens.
  void MultiplyQuantized(int64_t head, int64_t group, float* keys, float* values) const {
    const QuantizedRows& all = quantized_.rows();
    const int64_t first = group * kKvGroup * all.num_blocks;  // a group is two whole panels
    const QuantizedRows rows{kKvGroup, all.num_blocks, all.values + first * kQuantizedBlock,
                             all.scales + first};
    const int64_t key_row = head * (int64_t{a_.nope_dim} + a_.v_head_dim);
    const Matrix key_up = RowsOf(w_.kv_b, key_row, a_.nope_dim);
    const Matrix value_up = RowsOf(w_.kv_b, key_row + a_.nope_dim, a_.v_head_dim);
    const InterleavedKernels& kernels = compute_.kernels->interleaved;
    kernels.matmul(key_up, 0, key_up.rows, rows, nullptr, keys, expanded_.key_dim);
    kernels.matmul(value_up, 0, value_up.rows, rows, nullptr, values, a_.v_head_dim);
  }

  // out [32 tokens, `stride`]: the first `count` of a row are the token's latent times weight rows.
  void Multiply(const std::byte* weights, int64_t count, const std::byte* queries, int64_t stride, float* out,
                float* products) const {
    for (int64_t n = 0; n < count; n += kKvBlock, weights += kKvBlock / kKvGroup * weights_.head_bytes()) {
      const int64_t rows = std::min(kKvBlock, count - n);
      kernels_.products(weights_, weights, weights_.head_bytes(), CeilDiv(rows, 16) * 16, queries, kKvGroup,
                        products);
      for (int64_t slot = 0; slot < kKvGroup; ++slot) {
        std::memcpy(out + slot * stride + n, products + slot * kKvBlock,
                    static_cast<size_t>(rows) * sizeof(float));
      }
    }
  }

  Compute& compute_;
  const AttentionKernels& kernels_;
  const AttentionSpec& a_;
  const KvLayout& latents_;
  const AttentionRows& rows_;
  const LayerWeights& w_;
  const int64_t num_groups_;
  KvLayout weights_;   // a head's weight rows: kv_rank dims a "token"
  KvLayout expanded_;  // nope + rope dims of keys, v of values, every head its own
  BufferPool::Buffer<std::byte> packed_weights_, packed_latents_, tokens_;
  QuantizedBuffer quantized_;  // [tokens, kv_rank]
  BufferPool::Buffer<float> rotary_;
};

}  // namespace

bool WorthExpanding(const AttentionSpec& a, int64_t num_kept, int64_t num_rows) {
  const int64_t tokens = num_kept + num_rows, dims = int64_t{a.nope_dim} + a.rope_dim + a.v_head_dim;
  if (num_rows < kMinRows || CeilDiv(tokens, kKvGroup) * kKvGroup * a.num_heads * dims * 4 > kMostBytes) {
    return false;
  }
  // Products a head: of queries and weights with tokens, and with the expansion weights.
  const int64_t pairs = num_rows * (num_kept + num_rows / 2);
  const int64_t expansion = (int64_t{a.nope_dim} + a.v_head_dim) * a.kv_lora_rank;
  return pairs * dims + tokens * expansion <
         pairs * (2 * int64_t{a.kv_lora_rank} + a.rope_dim) + num_rows * expansion;
}

void AttendExpanded(Compute& compute, const AttentionSpec& a, const LayerWeights& w, const KvLayout& latents,
                    const AttentionRows& rows, const float* q, float* values) {
  Expansion expansion(compute, a, w, latents, rows);
  AttentionParams params;
  params.layout = expansion.layout();
  params.num_heads = a.num_heads;
  params.scale = static_cast<float>(a.softmax_scale);
  const AttentionRows expanded{expansion.state(), rows.first_position, 0, rows.num_rows};
  const int64_t q_stride = int64_t{a.num_heads} * a.head_dim, v_stride = int64_t{a.num_heads} * a.v_head_dim;
  Attend(compute, params, {&expanded, 1}, {q, q_stride, a.head_dim}, {values, v_stride, a.v_head_dim});
}

}  // namespace deepshock
