// SPDX-License-Identifier: Apache-2.0
// Published score files of Expert-Specialized Fine-Tuning against the published scores and selections: every
// score, every list in its order, and the files byte for byte. Needs the reference data.
#include "experts/esft.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mapped_file.h"
#include "experts/groups.h"
#include "tests/support/reference_data.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

class Esft : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string packed = SharedData("esft/expert_scores_intent_law.tar.xz");
    if (!fs::exists(packed)) GTEST_SKIP() << "the published scores are absent";
    folder_ = fs::path(testing::TempDir()) / ("deepshock-esft-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    const std::string command = "tar -xJf '" + packed + "' -C '" + folder_.string() + "' " + GetParam();
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  std::string Read(const std::string& path) {
    const auto text = ReadFile(path, 1 << 20);
    EXPECT_TRUE(text.ok()) << text.message();
    return text.ok() ? *text : "";
  }

  fs::path folder_;
};

TEST_P(Esft, ScoresAndSelectionsAreThePublishedOnes) {
  const std::string task = GetParam();
  ThreadPool pool(2);
  const auto folder = ReadScoreFolder((folder_ / task).string(), 64, 6, pool);
  ASSERT_TRUE(folder.ok()) << folder.message();
  EXPECT_EQ(folder->num_files, 26);
  const ExpertProfile profile = folder->counts.Both().Profile();
  ASSERT_EQ(profile.layers.size(), 26u);

  const std::string summary_text = Read((folder_ / task / "summary.json").string());
  const auto summary = ParseJson(summary_text);
  ASSERT_TRUE(summary.ok());
  int equal = 0;
  for (const LayerProfile& layer : profile.layers) {
    for (size_t e = 0; e < 64; ++e) {
      const std::string l = std::to_string(layer.layer), expert = std::to_string(e);
      equal += RoundDecimals(layer.token[e], 4) == (*summary)["token_scores"][l][expert].get<double>();
      equal += RoundDecimals(layer.gate[e], 4) == (*summary)["gate_scores"][l][expert].get<double>();
    }
  }
  EXPECT_EQ(equal, 2 * 26 * 64);
  EXPECT_EQ(EsftSummaryJson(profile), summary_text);

  const std::string config_text = Read(SharedData("esft/expert_configs/" + task + ".json"));
  const auto config = ParseJson(config_text);
  ASSERT_TRUE(config.ok());
  const ExpertSelection selection = SelectExperts(profile, SelectionRule::kEsftToken, 0.2);
  int identical = 0;
  for (const LayerSelection& layer : selection.layers) {
    identical +=
        (*config)["experts"][std::to_string(layer.layer)].get<std::vector<int32_t>>() == layer.experts ? 1
                                                                                                       : 0;
  }
  EXPECT_EQ(identical, 26);
  EXPECT_EQ(EsftConfigJson(selection), config_text);
  // The interval holds p, and its upper end selects the same.
  EXPECT_LT(selection.p_above, 0.2);
  EXPECT_GE(selection.p_upto, 0.2);
  EXPECT_EQ(EsftConfigJson(SelectExperts(profile, SelectionRule::kEsftToken, selection.p_upto)), config_text);
  EXPECT_NE(EsftConfigJson(SelectExperts(profile, SelectionRule::kEsftToken, selection.p_above)),
            config_text);

  // The data's description says 0.7 to 0.9; it depends on how the halves are drawn.
  const ExpertGroup group = MeasureGroup(folder->counts, SelectionRule::kEsftToken, 0.2);
  ASSERT_TRUE(group.split_half.has_value());
  EXPECT_GE(group.split_half->jaccard, 0.7);
  EXPECT_LT(group.split_half->jaccard, 1);
}

INSTANTIATE_TEST_SUITE_P(Tasks, Esft, testing::Values("intent", "law"));

}  // namespace
}  // namespace deepshock
