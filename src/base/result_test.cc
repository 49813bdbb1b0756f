// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace deepshock {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Fail("{}: expected an even number", n);
  return n / 2;
}
Result<int> Quarter(int n) {
  DS_ASSIGN(const int half, Half(n));
  DS_ASSIGN(const int quarter, Half(half));
  return quarter;
}
Status CheckEven(int n) {
  DS_RETURN_IF_ERROR(Half(n).status());
  return {};
}

TEST(Status, SuccessAndError) {
  const Status good;
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(good.message(), "");
  EXPECT_TRUE(good.WithContext("file").ok());
  const Status bad = Fail("{} rows", 3);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.message(), "3 rows");
  EXPECT_EQ(bad.WithContext("file").message(), "file: 3 rows");
  // An error without words is still an error.
  EXPECT_FALSE(Status::Error("").ok());
}

TEST(Result, ValueOrError) {
  EXPECT_EQ(*Half(4), 2);
  EXPECT_TRUE(Half(4).status().ok());
  EXPECT_FALSE(Half(3).ok());
  EXPECT_EQ(Half(3).message(), "3: expected an even number");
}

TEST(Result, MacrosPassErrorsOn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(3).message(), "3: expected an even number");
  EXPECT_EQ(Quarter(6).message(), "3: expected an even number");
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_FALSE(CheckEven(1).ok());
}

TEST(Result, WithContextKeepsValuesAndPrefixesErrors) {
  EXPECT_EQ(*Half(4).WithContext("x"), 2);
  EXPECT_EQ(Half(3).WithContext("x").message(), "x: 3: expected an even number");
}

TEST(Result, MovesValuesThatCannotBeCopied) {
  const auto make = [](bool good) -> Result<std::unique_ptr<int>> {
    if (!good) return Fail("none");
    return std::make_unique<int>(5);
  };
  const auto use = [&](bool good) -> Result<int> {
    DS_ASSIGN(const std::unique_ptr<int> p, make(good));
    return *p;
  };
  EXPECT_EQ(*use(true), 5);
  EXPECT_EQ(use(false).message(), "none");
}

TEST(ResultDeathTest, ReadingAnErrorsValueIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH((void)Half(3).value(), "expected an even number");
  EXPECT_DEATH((void)Result<int>(Status()), "needs an error");
}

TEST(Status, StaysOneLineWhateverItQuotes) {
  const Status status = Fail("type: expected yarn, found \"{}\"", std::string("ya\n\x1b[2Jrn\x7f", 10));
  EXPECT_EQ(status.message(), "type: expected yarn, found \"ya \\x1b[2Jrn\\x7f\"");
  EXPECT_EQ(Fail("plain").message(), "plain");
}

}  // namespace
}  // namespace deepshock
