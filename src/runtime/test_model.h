// SPDX-License-Identifier: Apache-2.0
// A model and a tokenizer of nothing, for tests of the scheduler. Its routers choose by token and position.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sampler.h"
#include "runtime/token_model.h"
#include "text/tokenizer.h"

namespace deepshock {

inline constexpr int64_t kVocab = 32;
inline constexpr int64_t kContext = 64;
inline constexpr int32_t kEos = 31;
inline constexpr int64_t kPadded = 16;  // floats from one token of the state to the next

// Its logits are a hash of every token in the sequence's state: one lost, doubled or foreign token changes
// them.
class FakeModel final : public TokenModel {
 public:
  Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                 ForwardOutput* output) override {
    if (fail) return Fail("the machine is on fire");
    output->logits.clear();
    output->hidden.clear();
    int64_t num_tokens = 0;
    if (observer != nullptr) Route(chunks, *observer);
    for (const SequenceChunk& chunk : chunks) {
      KvView& kv = *chunk.kv;
      EXPECT_LE(kv.length + static_cast<int64_t>(chunk.tokens.size()), kv.capacity);
      num_tokens += static_cast<int64_t>(chunk.tokens.size());
      auto* state = reinterpret_cast<float*>(kv.layers[0]);
      for (size_t i = 0; i < chunk.tokens.size(); ++i) {
        state[kPadded * kv.length++] = static_cast<float>(chunk.tokens[i]);
        output->hidden.push_back(static_cast<float>(chunk.tokens[i]));
        if (chunk.all_logits || i + 1 == chunk.tokens.size()) AddLogits(state, kv.length, output);
      }
    }
    batch_sizes.push_back(chunks.size());
    token_counts.push_back(num_tokens);
    return {};
  }
  bool can_interrupt() const override { return slow_layers > 0; }
  Result<std::unique_ptr<ForwardPass>> Begin(std::span<const SequenceChunk> chunks,
                                             ForwardObserver* observer) override {
    struct Pass final : ForwardPass {
      int layers_left() const override { return left; }
      Status RunLayer() override {
        --left;
        std::this_thread::sleep_for(model->layer_time);
        if (model->layers_fail) return Fail("the machine is on fire");
        return {};
      }
      void Finish(ForwardOutput* output) override {
        EXPECT_EQ(left, 0);
        EXPECT_TRUE(model->Forward(chunks, observer, output).ok());
      }
      FakeModel* model = nullptr;
      std::vector<SequenceChunk> chunks;
      ForwardObserver* observer = nullptr;
      int left = 0;
    };
    auto pass = std::make_unique<Pass>();
    pass->model = this;
    pass->chunks.assign(chunks.begin(), chunks.end());
    pass->observer = observer;
    pass->left = slow_layers;
    ++num_begun;
    return std::unique_ptr<ForwardPass>(std::move(pass));
  }
  StateSpec state_spec() const override { return {{KvLayout{.key_dim = 1}}}; }
  int64_t vocab_size() const override { return kVocab; }
  int64_t context_length() const override { return kContext; }
  RoutingShape routing_shape() const override { return {8, 2, {1, 2}}; }
  bool depends_on_chunks() const override { return chunks_matter; }
  MemoryBudget* memory_budget() const override { return budget; }

  static std::vector<int32_t> Experts(int layer, int32_t token, int64_t position) {
    const auto first = static_cast<int32_t>((token + layer + position) % 8);
    return {first, (first + 3) % 8};
  }
  void Route(std::span<const SequenceChunk> chunks, ForwardObserver& observer) const {
    for (const int layer : {1, 2}) {
      std::vector<int32_t> experts;
      std::vector<RoutingChange> changes;
      for (const SequenceChunk& chunk : chunks) {
        for (size_t i = 0; i < chunk.tokens.size(); ++i) {
          const auto chosen = Experts(layer, chunk.tokens[i], chunk.kv->length + static_cast<int64_t>(i));
          experts.insert(experts.end(), chosen.begin(), chosen.end());
          changes.push_back({chunk.control != nullptr, 0, 0});
        }
      }
      const std::vector<float> weights(experts.size(), 0.5f);
      observer.OnRouting({layer, static_cast<int64_t>(changes.size()), 2, {}, experts, weights, changes});
    }
  }

  void AddLogits(const float* state, int64_t length, ForwardOutput* output) const {
    uint64_t hash = 17;
    for (int64_t i = 0; i < length; ++i) hash = hash * 1000003 + static_cast<uint64_t>(state[kPadded * i]);
    SplitMix64 random(hash);
    for (int64_t v = 0; v < kVocab; ++v)
      output->logits.push_back(static_cast<float>(random.NextUniform() * 4));
    // The end comes after some tokens, or never.
    output->logits.back() = ends && hash % 16 == 0 ? 10.0f : -10.0f;
    if (nan_at == length) output->logits[output->logits.size() - 3] = std::numeric_limits<float>::quiet_NaN();
  }

  bool ends = true;
  bool fail = false;
  bool chunks_matter = true;
  int slow_layers = 0;  // of passes in pieces; 0: it has none
  std::chrono::milliseconds layer_time{0};
  int num_begun = 0;  // passes in pieces
  bool layers_fail = false;
  MemoryBudget* budget = nullptr;
  int64_t nan_at = -1;  // a sequence of this length gets a NaN
  std::vector<size_t> batch_sizes;
  std::vector<int64_t> token_counts;
};

// Even and odd tokens in turns, kEos once there are `length` of them; counts what it is asked.
class EvenOddConstraint final : public TokenConstraint {
 public:
  explicit EvenOddConstraint(int64_t length) : length_(length) {}
  void Allowed(std::span<uint32_t> mask) override {
    EXPECT_EQ(mask.size(), static_cast<size_t>(kVocab + 31) / 32);
    ++num_asked;
    mask[0] = accepted >= length_ ? uint32_t{1} << kEos : accepted % 2 == 0 ? 0x01555555u : 0x02aaaaaau;
  }
  bool Accept(int32_t token) override {
    const bool allowed = accepted >= length_ ? token == kEos : token < 26 && token % 2 == accepted % 2;
    accepted += allowed ? 1 : 0;
    return allowed;
  }

  int64_t num_asked = 0, accepted = 0;

 private:
  int64_t length_;
};

// Token i is the letter 'a' + i; 26 and above are special.
class LetterTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(c - 'a');
    return ids;
  }
  std::string Decode(std::span<const int32_t> ids, bool) const override {
    std::string text;
    for (const int32_t id : ids) text += TokenBytes(id);
    return text;
  }
  std::unique_ptr<TokenDecoder> NewDecoder(bool) const override { return std::make_unique<Decoder>(); }
  std::string TokenBytes(int32_t id) const override {
    return id < 26 ? std::string(1, static_cast<char>('a' + id)) : "";
  }
  int64_t vocab_size() const override { return kVocab; }
  std::optional<int32_t> TokenId(std::string_view) const override { return std::nullopt; }
  bool IsSpecial(int32_t id) const override { return id >= 26; }
  std::string TokenText(int32_t id) const override { return TokenBytes(id); }

 private:
  struct Decoder final : TokenDecoder {
    void Push(int32_t id, std::string* out) override {
      if (id < 26) *out += static_cast<char>('a' + id);
    }
    void Finish(std::string*) override {}
  };
};

}  // namespace deepshock
