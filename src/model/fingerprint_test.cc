// SPDX-License-Identifier: Apache-2.0
#include "model/fingerprint.h"

#include <gtest/gtest.h>

#include <random>

#include "base/file_test_dir.h"
#include "tensor/codec.h"

namespace deepshock {
namespace {

constexpr int kExperts = 24, kHidden = 768;

// A model of one dense and two MoE layers that consists of routers only.
class Routers {
 public:
  Routers(DType dtype, uint32_t seed) {
    spec.architecture = "test";
    spec.hidden = kHidden;
    spec.router.num_experts = kExperts;
    spec.router.top_k = 2;
    spec.layers = {{false, false}, {true, false}, {true, false}};
    weights.layers.resize(3);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 0.02f);
    for (size_t l = 1; l < 3; ++l) {
      bytes_.emplace_back(static_cast<size_t>(kExperts * RowBytes(dtype, kHidden)));
      Matrix& router = weights.layers[l].router;
      router = {dtype, kExperts, kHidden, bytes_.back().data(), RowBytes(dtype, kHidden), nullptr,
                0,     0,        false};
      for (int64_t row = 0; row < kExperts; ++row) {
        std::vector<float> values(kHidden);
        for (float& v : values) v = normal(random);
        EXPECT_TRUE(EncodeRow(dtype, values, {}, bytes_.back().data() + row * router.row_stride).ok());
      }
    }
  }

  ModelFingerprint Fingerprint() const { return FingerprintOf(spec, weights); }

  ModelSpec spec;
  ModelWeights weights;

 private:
  std::vector<std::vector<std::byte>> bytes_;
};

TEST(Fingerprint, StaysWhenTheRouterIsStoredInFewerBits) {
  const ModelFingerprint exact = Routers(DType::kF32, 1).Fingerprint();
  ASSERT_EQ(exact.routers.size(), 2u);
  EXPECT_EQ(exact.routers[0].layer, 1);
  EXPECT_EQ(exact.num_experts, kExperts);
  for (const DType dtype :
       {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    const double distance = FingerprintDistance(exact, Routers(dtype, 1).Fingerprint());
    EXPECT_LE(distance, kMaxFingerprintDistance / 2) << Name(dtype);
  }
  EXPECT_EQ(FingerprintDistance(exact, Routers(DType::kBF16, 1).Fingerprint()), 0);
}

// 128 signs: half of them differ, with a standard deviation of 4.4 %; 12.5 % is eight of these away.
TEST(Fingerprint, TellsModelsOfOneShapeApart) {
  const ModelFingerprint first = Routers(DType::kF32, 1).Fingerprint();
  for (uint32_t seed = 2; seed < 12; ++seed) {
    EXPECT_GT(FingerprintDistance(first, Routers(DType::kF32, seed).Fingerprint()),
              2 * kMaxFingerprintDistance);
  }
}

TEST(Fingerprint, GroupsAreLoadedForTheirModelOnly) {
  const FileTestDir dir;
  const Routers model(DType::kF32, 1), quantised(DType::kQ8_0, 1), other(DType::kF32, 2);
  GroupsFile file;
  file.model = model.Fingerprint();
  ASSERT_TRUE(file.Save(dir.File("g.json")).ok());
  EXPECT_TRUE(LoadGroups(dir.File("g.json"), quantised.spec, quantised.weights).ok());
  const auto refused = LoadGroups(dir.File("g.json"), other.spec, other.weights);
  EXPECT_NE(refused.message().find("g.json: groups of another model: its routers differ"), std::string::npos)
      << refused.message();
}

}  // namespace
}  // namespace deepshock
