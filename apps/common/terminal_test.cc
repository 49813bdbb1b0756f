// SPDX-License-Identifier: Apache-2.0
#include "apps/common/terminal.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(SafeForTerminal, ControlCharactersLoseTheirPower) {
  EXPECT_EQ(SafeForTerminal("plain\ttext\nÄ中"), "plain\ttext\nÄ中");
  EXPECT_EQ(SafeForTerminal("\x1b[31mred\r\x07"), "\uFFFD[31mred\uFFFD\uFFFD");
  EXPECT_EQ(SafeForTerminal("\u009b1m\x7f"), "\uFFFD1m\uFFFD");  // CSI as one C1 character, DEL
  EXPECT_EQ(SafeForTerminal(""), "");
}

TEST(FormatSeconds, ChoosesTheUnit) {
  EXPECT_EQ(FormatSeconds(3.24), "3.2 s");
  EXPECT_EQ(FormatSeconds(65.2), "1 min 5 s");
  EXPECT_EQ(FormatSeconds(3600 + 120), "1 h 2 min");
}

}  // namespace
}  // namespace deepshock
