// SPDX-License-Identifier: Apache-2.0
#include "apps/common/expert_options.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(ExpertOptions, SplitsNames) {
  EXPECT_EQ(SplitNames("text_expert, code_expert ,"),
            (std::vector<std::string>{"text_expert", "code_expert"}));
  EXPECT_TRUE(SplitNames("").empty());
  EXPECT_TRUE(SplitNames(" , ").empty());
}

TEST(ExpertOptions, TellsWhatWasDone) {
  ExpertReport report;
  report.from_disk = true;
  report.policy = "profile";
  report.wanted = 200;
  report.loaded = 112;
  report.loaded_bytes = 9 << 20;
  report.seconds = 0.5;
  report.groups = {{"code_expert", 0.71}};
  EXPECT_EQ(
      DescribeExperts(report),
      "warm-up: 112 of 200 experts loaded, 9.00 MiB in 0.5 s; 88 did not fit; 71 % of what code_expert uses; "
      "policy profile");
  report = {};
  report.pinned = 3;
  EXPECT_EQ(DescribeExperts(report), "3 pinned, as all are");
  report.wanted = report.loaded = 3;
  report.loaded_bytes = 1 << 20;
  EXPECT_EQ(
      DescribeExperts(report),
      "warm-up: all experts are in memory without a limit; 1.00 MiB touched in 0.0 s; 3 pinned, as all are");
  EXPECT_EQ(DescribeExperts({}), "");
}

}  // namespace
}  // namespace deepshock
