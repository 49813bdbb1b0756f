// SPDX-License-Identifier: Apache-2.0
// A real trained model against its reference: logits, greedy continuations, likelihoods, expert profiles and
// the MTP layer, from the bfloat16 checkpoint and from the GGUF that the project ships. Needs the reference
// data.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/json.h"
#include "base/mapped_file.h"
#include "experts/groups.h"
#include "formats/safetensors.h"
#include "model/fingerprint.h"
#include "runtime/evaluate.h"
#include "runtime/kv_cache.h"
#include "runtime/routing_counts.h"
#include "tests/support/reference_data.h"

namespace deepshock {
namespace {

constexpr int64_t kStateSequences = 8;  // of 512 tokens, for what is measured several times
const char* const kSets[] = {"text", "code", "zh", "chat"};

std::vector<int32_t> ReadTokens(const std::string& set) {
  const auto file = MappedFile::Open(SharedData("models/tiny-moe/reference/" + set + ".val.i32"));
  if (!file.ok()) return {};
  std::vector<int32_t> tokens((*file)->bytes().size() / sizeof(int32_t));
  std::memcpy(tokens.data(), (*file)->bytes().data(), tokens.size() * sizeof(int32_t));
  return tokens;
}

Json Reference(const std::string& name) {
  Result<Json> json = ReadJsonFile(SharedData("models/tiny-moe/reference/" + name), 64 << 20);
  return json.ok() ? *json : Json();
}

int32_t ArgMax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

class TinyMoe : public testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = TinyMoeFolder();
    if (folder.empty()) GTEST_SKIP() << "the tiny-moe reference is absent";
    auto loaded = Model::Load(folder);
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = std::move(*loaded);
  }

  ThreadPool pool_{2};
  Compute compute_{BestKernels(), pool_};
  std::unique_ptr<Model> model_;
};

TEST_F(TinyMoe, LogitsOfEveryPromptMatch) {
  const auto logits = SafetensorsFile::Open(SharedData("models/tiny-moe/reference/logits.safetensors"));
  ASSERT_TRUE(logits.ok()) << logits.message();
  const Json cases = Reference("generate.json");
  ASSERT_EQ(cases.size(), 15u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto ids = cases[i]["ids"].get<std::vector<int32_t>>();
    const StoredTensor* expected = (*logits)->Find("logits." + std::to_string(i));
    ASSERT_NE(expected, nullptr);
    KvCache cache(model_->state_spec(), 2048);
    ASSERT_TRUE(cache.Reserve(static_cast<int64_t>(ids.size())).ok());
    const SequenceChunk chunk{cache.view(), ids, true};
    ForwardOutput output;
    ASSERT_TRUE(model_->Forward(compute_, {&chunk, 1}, nullptr, &output).ok());
    ASSERT_EQ(expected->bytes, static_cast<int64_t>(output.logits.size() * sizeof(float)));
    float worst = 0;
    for (size_t j = 0; j < output.logits.size(); ++j) {
      float value;
      std::memcpy(&value, expected->data + j * sizeof(float), sizeof(float));
      worst = std::max(worst, std::abs(value - output.logits[j]));
    }
    EXPECT_LE(worst, 2e-4f) << "prompt " << i;
  }
}

TEST_F(TinyMoe, GreedyContinuationsAreIdentical) {
  const Json cases = Reference("generate.json");
  ASSERT_EQ(cases.size(), 15u);
  for (size_t i = 0; i < cases.size(); ++i) {
    auto pending = cases[i]["ids"].get<std::vector<int32_t>>();
    const auto expected = cases[i]["greedy"].get<std::vector<int32_t>>();
    KvCache cache(model_->state_spec(), 2048);
    std::vector<int32_t> found;
    while (found.size() < expected.size()) {
      ASSERT_TRUE(cache.Reserve(cache.length() + static_cast<int64_t>(pending.size())).ok());
      const SequenceChunk chunk{cache.view(), pending, false};
      ForwardOutput output;
      ASSERT_TRUE(model_->Forward(compute_, {&chunk, 1}, nullptr, &output).ok());
      pending = {ArgMax(output.logits)};
      found.push_back(pending[0]);
    }
    EXPECT_EQ(found, expected) << "prompt " << i;
  }
}

TEST_F(TinyMoe, LikelihoodsMatchFromTheCheckpoint) {
  const Json profile = Reference("profile.json");
  for (const char* set : kSets) {
    const auto result = MeanNll(*model_, compute_, ReadTokens(set), 512, {});
    ASSERT_TRUE(result.ok()) << result.message();
    EXPECT_NEAR(result->nll, profile["ppl"][set]["nll"].get<double>(), 1e-4) << set;
    EXPECT_EQ(result->num_tokens, 12264);
  }
}

// The shipped file stores experts losslessly and the rest in Q8_0 or better: within 0.5 % of the reference.
TEST_F(TinyMoe, LikelihoodsHoldInTheShippedFile) {
  const auto shipped = Model::Load(std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf");
  ASSERT_TRUE(shipped.ok()) << shipped.message();
  EXPECT_EQ((*shipped)->weights().mtp.size(), 1u);
  const Json profile = Reference("profile.json");
  for (const char* set : kSets) {
    const auto result = MeanNll(**shipped, compute_, ReadTokens(set), 512, {});
    ASSERT_TRUE(result.ok()) << result.message();
    const double expected = profile["ppl"][set]["nll"].get<double>();
    EXPECT_NEAR(result->nll, expected, 0.005 * expected) << set;
  }
}

// What the engine does by default: interleaved weights, activations in 8 bits. Within 0.3 % of activations in
// float32, and not equal to them: the fast path ran.
TEST_F(TinyMoe, LikelihoodsHoldWithActivationsIn8Bits) {
  const std::string path = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";
  const auto as_stored = Model::Load(path), interleaved = Model::Load(path, {true, &pool_});
  ASSERT_TRUE(as_stored.ok() && interleaved.ok());
  for (const ExpertWeights& expert : (*interleaved)->weights().layers.back().experts) {
    EXPECT_TRUE(expert.gate.interleaved && expert.up.interleaved && expert.down.interleaved);
  }
  for (const char* set : kSets) {
    // Both on the same tokens: half of them tell a difference as well.
    std::vector<int32_t> tokens = ReadTokens(set);
    tokens.resize(tokens.size() / 1024 * 512);
    const auto exact = MeanNll(**as_stored, compute_, tokens, 512, {});
    const auto fast = MeanNll(**interleaved, compute_, tokens, 512, {});
    ASSERT_TRUE(exact.ok() && fast.ok());
    EXPECT_NEAR(fast->nll, exact->nll, 0.003 * exact->nll) << set;
    EXPECT_NE(fast->nll, exact->nll) << set;
  }
}

// Mean loss over the first `num_sequences` sequences of 512 tokens, computed `chunk` tokens a pass: many rows
// expand keys and values, few attend in latent space.
double NllInChunks(const Model& model, Compute& compute, std::span<const int32_t> tokens, KvType type,
                   int64_t num_sequences, int64_t chunk_tokens) {
  constexpr int64_t kLength = 512;
  const auto vocab = static_cast<size_t>(model.spec().vocab_size);
  double sum = 0;
  for (int64_t s = 0; s < num_sequences; ++s) {
    const auto sequence = tokens.subspan(static_cast<size_t>(s * kLength), static_cast<size_t>(kLength));
    KvCache cache(model.state_spec(type), kLength);
    EXPECT_TRUE(cache.Reserve(kLength).ok());
    ForwardOutput output;
    for (int64_t begin = 0; begin < kLength; begin += chunk_tokens) {
      const auto chunk_of = sequence.subspan(static_cast<size_t>(begin), static_cast<size_t>(chunk_tokens));
      const SequenceChunk chunk{cache.view(), chunk_of, true};
      EXPECT_TRUE(model.Forward(compute, {&chunk, 1}, nullptr, &output).ok());
      for (int64_t i = 0; i < chunk_tokens && begin + i + 1 < kLength; ++i) {
        sum += NegativeLogLikelihood(
            std::span<const float>(output.logits).subspan(static_cast<size_t>(i) * vocab, vocab),
            sequence[static_cast<size_t>(begin + i + 1)]);
      }
    }
  }
  return sum / static_cast<double>(num_sequences * (kLength - 1));
}

// State in fewer bits is lossy: how much, against float32 state.
TEST_F(TinyMoe, LikelihoodsHoldWithStateInFewerBits) {
  const struct {
    KvType type;
    double bar;  // of perplexity
  } cases[] = {{KvType::kQ16, 0.0005}, {KvType::kQ8, 0.003}};
  for (const char* set : {"text", "code"}) {
    const std::vector<int32_t> tokens = ReadTokens(set);
    const double exact = NllInChunks(*model_, compute_, tokens, KvType::kF32, kStateSequences, 512);
    // Expanded and absorbed are the same numbers up to rounding.
    EXPECT_NEAR(NllInChunks(*model_, compute_, tokens, KvType::kF32, kStateSequences, 8), exact, 1e-5);
    for (const auto& c : cases) {
      for (const int64_t chunk : {512, 8}) {
        const double found = NllInChunks(*model_, compute_, tokens, c.type, kStateSequences, chunk);
        EXPECT_LE(std::abs(std::expm1(found - exact)), c.bar)
            << set << ", " << Name(c.type) << ", " << chunk << " tokens a pass";
        EXPECT_NE(found, exact);  // it really was stored in fewer bits
        RecordProperty(std::string(set) + "_" + std::string(Name(c.type)) + "_" + std::to_string(chunk),
                       std::to_string(std::expm1(found - exact)));
      }
    }
  }
}

// Share of positions at which the MTP layer drafts what the main model then chooses, as the model card states
// it.
TEST_F(TinyMoe, MtpDraftsAgreeAsOftenAsStated) {
  const std::map<std::string, double> stated = {{"text", 0.71}, {"code", 0.78}, {"chat", 0.73}, {"zh", 0.58}};
  const int64_t length = 512, vocab = model_->spec().vocab_size;
  for (const auto& [set, share] : stated) {
    const std::vector<int32_t> tokens = ReadTokens(set);
    int64_t agreed = 0, drafted = 0;
    for (int64_t s = 0; s < static_cast<int64_t>(tokens.size()) / length; ++s) {
      const auto sequence =
          std::span(tokens).subspan(static_cast<size_t>(s * length), static_cast<size_t>(length));
      KvCache cache(model_->state_spec(), length);
      ASSERT_TRUE(cache.Reserve(length).ok());
      const SequenceChunk chunk{cache.view(), sequence, true};
      ForwardOutput output;
      ASSERT_TRUE(model_->Forward(compute_, {&chunk, 1}, nullptr, &output).ok());
      // At position p the draft sees token p+1 and speaks about p+2, as the main model does at p+1.
      const auto hidden =
          std::span(output.hidden).first(static_cast<size_t>((length - 1) * model_->spec().hidden));
      ForwardOutput drafts;
      const MtpChunk positions{cache.view(), 0, hidden, sequence.subspan(1), true};
      ASSERT_TRUE(model_->ForwardMtp(compute_, {&positions, 1}, &drafts).ok());
      for (int64_t p = 0; p + 1 < length; ++p) {
        const auto draft =
            std::span(drafts.logits).subspan(static_cast<size_t>(p * vocab), static_cast<size_t>(vocab));
        const auto choice = std::span(output.logits)
                                .subspan(static_cast<size_t>((p + 1) * vocab), static_cast<size_t>(vocab));
        agreed += ArgMax(draft) == ArgMax(choice) ? 1 : 0;
        ++drafted;
      }
    }
    EXPECT_NEAR(static_cast<double>(agreed) / static_cast<double>(drafted), share, 0.01) << set;
  }
}

// As `deepshock experts profile CHECKPOINT --data SET.val.i32` counts. And the shipped groups, which were
// made from other text with the shipped file, belong to the checkpoint too, and each holds more of its own
// kind of text than the others.
TEST_F(TinyMoe, ExpertProfilesMatch) {
  const Json reference = Reference("profile.json");
  const auto groups = LoadGroups(std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.experts.json",
                                 model_->spec(), model_->weights());
  ASSERT_TRUE(groups.ok()) << groups.message();
  for (const char* set : kSets) {
    const TextSource source{SharedData("models/tiny-moe/reference/" + std::string(set) + ".val.i32"), ""};
    const auto sequences = ReadSequences(source, nullptr, 512, 0);
    ASSERT_TRUE(sequences.ok()) << sequences.message();
    const auto counts = CountRouting(*model_, compute_, *sequences, KvType::kF32, {});
    ASSERT_TRUE(counts.ok()) << counts.message();
    const ExpertGroup group = MeasureGroup(*counts, SelectionRule::kEsftToken, 0.2);
    EXPECT_EQ(group.num_tokens, NumTokens(*sequences));
    ASSERT_EQ(group.profile.layers.size(), 7u);
    for (const LayerProfile& layer : group.profile.layers) {
      const Json& expected = reference["affinity"][set][std::to_string(layer.layer)];
      ASSERT_EQ(layer.token.size(), expected["token"].size());
      for (size_t e = 0; e < layer.token.size(); ++e) {
        EXPECT_NEAR(layer.token[e], expected["token"][e].get<double>(), 1e-5) << set << " " << layer.layer;
        EXPECT_NEAR(layer.gate[e], expected["gate"][e].get<double>(), 1e-5) << set << " " << layer.layer;
      }
    }
    std::map<std::string, double> times_chance;
    for (const ExpertGroup& shipped : groups->groups) {
      const ExpertSelection selection = shipped.Select();
      times_chance[shipped.name] = Coverage(selection, group.profile) / ChanceCoverage(selection);
    }
    const auto best = std::max_element(times_chance.begin(), times_chance.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    EXPECT_EQ(best->first, std::string(set) + "_expert");
    EXPECT_GT(best->second, 1.3);
  }
}

}  // namespace
}  // namespace deepshock
