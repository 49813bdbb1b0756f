// SPDX-License-Identifier: Apache-2.0
#include "experts/esft.h"

#include <gtest/gtest.h>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

TEST(ScoreFiles, ALineIsPairsOfAllTokens) {
  RoutingCounts counts(4, 2);
  ASSERT_TRUE(AddScoreLine("0\t1\t3\t0\t\t0.5\t0.25\t0.125\t1e-1", 7, &counts).ok());
  ASSERT_TRUE(AddScoreLine("2\t3\t\t0.5\t0\t\r", 7, &counts).ok());  // a last tab, a line end of Windows
  const ExpertProfile profile = counts.Profile();
  EXPECT_EQ(counts.num_tokens(), 3);
  EXPECT_EQ(profile.layers[0].token, (std::vector<double>{2.0 / 6, 1.0 / 6, 1.0 / 6, 2.0 / 6}));
  EXPECT_EQ(profile.layers[0].gate, (std::vector<double>{0.6 / 3, 0.25 / 3, 0.5 / 3, 0.125 / 3}));
}

TEST(ScoreFiles, WhatIsWrongIsNamed) {
  const struct {
    const char *line, *message;
  } cases[] = {
      {"0\t1\t0.5\t0.5", "expected ids, two tabs and weights, found \"0\t1\t0.5\t0.5\""},
      {"0\t4\t\t0.5\t0.5", "expected an expert from 0 to 3, found \"4\""},
      {"0\t-1\t\t0.5\t0.5", "expected an expert from 0 to 3, found \"-1\""},
      {"0\t1x\t\t0.5\t0.5", "expected an expert from 0 to 3, found \"1x\""},
      {"0\t1\t\t0.5\tnan", "expected a gate weight, found \"nan\""},
      {"0\t1\t\t0.5\t-0.5", "expected a gate weight, found \"-0.5\""},
      {"0\t1\t2\t3\t\t0.5\t\t0.5\t0.5", "expected a gate weight, found \"\""},
      {"0\t1\t\t0.5", "expected as many weights as ids, found more ids"},
      {"0\t1\t\t0.5\t0.5\t0.5", "expected as many weights as ids, found more weights"},
      {"0\t1\t2\t\t0.5\t0.5\t0.5", "expected 2 pairs a token, found 1 in the last"},
      {"\t\t", "expected 2 pairs a token, found 0 in the last"},
      {"0\t1\t2\t2\t\t0.5\t0.5\t0.5\t0.5", "expected 2 different experts a token, found 2 twice"},
  };
  for (const auto& c : cases) {
    RoutingCounts counts(4, 2);
    const Status status = AddScoreLine(c.line, 1, &counts);
    EXPECT_EQ(status.message().rfind(Status::Error(c.message).message(), 0), 0u) << status.message();
  }
}

TEST(ScoreFiles, AFolderIsReadWhole) {
  const FileTestDir dir;
  dir.Put("expert_weights_2.txt", "0\t1\t\t0.5\t0.25\n\n1\t2\t\t0.5\t0.25\n");
  dir.Put("expert_weights_10.txt", "0\t1\t0\t2\t\t0.5\t0.25\t0.5\t0.25");  // no line end
  dir.Put("expert_weights_x.txt", "no layer");
  dir.Put("summary.json", "{}");
  ThreadPool pool(2);
  auto folder = ReadScoreFolder(dir.path(), 4, 2, pool);
  ASSERT_TRUE(folder.ok()) << folder.message();
  EXPECT_EQ(folder->num_files, 2);
  const ExpertProfile profile = folder->counts.Both().Profile();
  ASSERT_EQ(profile.layers.size(), 2u);
  EXPECT_EQ(profile.layers[0].layer, 2);
  EXPECT_EQ(profile.layers[0].token, (std::vector<double>{0.25, 0.5, 0.25, 0}));
  EXPECT_EQ(folder->counts.Half(HalfOf(0)).num_tokens(), 2);  // of layer 2 one, of layer 10 two

  dir.Put("expert_weights_3.txt", "0\t1\t\t0.5\t0.25\n");
  EXPECT_NE(
      ReadScoreFolder(dir.path(), 4, 2, pool).message().find("expert_weights_3.txt: expected 2 tokens as in"),
      std::string::npos);
  dir.Put("expert_weights_3.txt", "0\t1\t\t0.5\t0.25\n0\t9\t\t0.5\t0.25\n");
  EXPECT_NE(
      ReadScoreFolder(dir.path(), 4, 2, pool).message().find("expert_weights_3.txt: line 2: expected an exp"),
      std::string::npos);
  const FileTestDir empty;
  EXPECT_NE(
      ReadScoreFolder(empty.path(), 4, 2, pool).message().find("expected files expert_weights_<layer>.txt"),
      std::string::npos);
  EXPECT_NE(ReadScoreFolder(dir.File("none"), 4, 2, pool).message().find("cannot list"), std::string::npos);
}

TEST(ScoreFiles, WrittenAsPublished) {
  const ExpertProfile profile{3, 1, {{2, {0.5, 0.25, 0.25}, {0.00004, 1, 0.2}}, {10, {0, 1, 0}, {0, 1, 0}}}};
  EXPECT_EQ(
      EsftSummaryJson(profile),
      R"({"token_scores": {"10": {"0": 0.0, "1": 1.0, "2": 0.0}, "2": {"0": 0.5, "1": 0.25, "2": 0.25}}, )"
      R"("gate_scores": {"10": {"0": 0.0, "1": 1.0, "2": 0.0}, "2": {"0": 0.0, "1": 1.0, "2": 0.2}}})");
  EXPECT_EQ(EsftConfigJson(SelectExperts(profile, SelectionRule::kEsftToken, 0.6)),
            R"({"experts": {"10": [1], "2": [0, 1]}, "shared_experts": false, "non_expert_modules": false})");
}

}  // namespace
}  // namespace deepshock
