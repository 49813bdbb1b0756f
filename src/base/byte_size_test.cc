// SPDX-License-Identifier: Apache-2.0
#include "base/byte_size.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(ByteSize, ParsesWhatPeopleWrite) {
  const auto parsed = [](std::string_view text) {
    const Result<int64_t> bytes = ParseByteSize(text);
    EXPECT_TRUE(bytes.ok()) << bytes.message();
    return bytes.ok() ? *bytes : -1;
  };
  EXPECT_EQ(parsed("1"), 1);
  EXPECT_EQ(parsed("4000000000"), 4000000000);
  EXPECT_EQ(parsed("6G"), 6ll << 30);
  EXPECT_EQ(parsed("6g"), 6ll << 30);
  EXPECT_EQ(parsed("512M"), 512ll << 20);
  EXPECT_EQ(parsed("512 MiB"), 512ll << 20);
  EXPECT_EQ(parsed("1.5GiB"), 3ll << 29);
  EXPECT_EQ(parsed("0.25k"), 256);
  EXPECT_EQ(parsed("4GB"), 4000000000);
  EXPECT_EQ(parsed("2Ti"), 2ll << 40);
  EXPECT_EQ(parsed("17b"), 17);
}

TEST(ByteSize, RefusesEverythingElse) {
  for (const char* text : {"",    "G",           "-1G",   "+1G",  "1.G",
                           ".5G", "1.5.2G",      "1e9",   "6X",   "6GiBs",
                           "0",   "0.1",         "6 G G", "0x10", "inf",
                           "nan", "9999999999T", "1K1",   "6BG",  "111111111111111111111111111111111111"}) {
    const Result<int64_t> bytes = ParseByteSize(text);
    EXPECT_FALSE(bytes.ok()) << text;
    EXPECT_NE(bytes.message().find("6G, 512M or 1.5GiB"), std::string::npos);
  }
}

TEST(ByteSize, FormatsThreeDigits) {
  EXPECT_EQ(FormatByteSize(17), "17 bytes");
  EXPECT_EQ(FormatByteSize(4ll << 30), "4.00 GiB");
  EXPECT_EQ(FormatByteSize((4ll << 30) + (1ll << 29)), "4.50 GiB");
  EXPECT_EQ(FormatByteSize(512ll << 20), "512 MiB");
  EXPECT_EQ(FormatByteSize(1023ll << 20), "1.00 GiB");
  EXPECT_EQ(FormatByteSize(45ll << 30), "45.0 GiB");
}

}  // namespace
}  // namespace deepshock
