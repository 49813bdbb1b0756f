// SPDX-License-Identifier: Apache-2.0
#include "data/text_record.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(TextRecord, TakesTheFirstKnownFieldOrTheOneAskedFor) {
  const std::string line = R"({"id": 1, "prompt": "p", "text": "t", "body": "b"})";
  EXPECT_EQ(ParseTextRecord(line, "")->text, "t");
  EXPECT_EQ(ParseTextRecord(line, "prompt")->text, "p");
  EXPECT_EQ(ParseTextRecord(line, "body")->text, "b");
  EXPECT_EQ(ParseTextRecord(R"({"prompt": "p", "messages": []})", "")->text, "p");
}

TEST(TextRecord, AConversationKeepsTheOrderOfItsKeys) {
  const auto record = ParseTextRecord(
      R"({"dataset": "d", "messages": [{"role": "user", "content": "q"}], "tools": [{"b": 1, "a": 2}]})", "");
  ASSERT_TRUE(record.ok()) << record.message();
  EXPECT_EQ(record->messages, R"([{"role":"user","content":"q"}])");
  EXPECT_EQ(record->tools, R"([{"b":1,"a":2}])");
}

TEST(TextRecord, WhatIsWrongIsNamed) {
  EXPECT_EQ(ParseTextRecord("[1]", "").message(), "expected a JSON object, found array");
  EXPECT_EQ(ParseTextRecord(R"({"body": "b"})", "").message(),
            R"(expected a field "text", "prompt" or "messages", found none of them)");
  EXPECT_EQ(ParseTextRecord(R"({"text": "b"})", "body").message(), R"(expected a field "body", found none)");
  EXPECT_EQ(ParseTextRecord(R"({"text": 3})", "").message(),
            "text: expected a string or a list of messages, found number");
  EXPECT_FALSE(ParseTextRecord("{", "").ok());
}

}  // namespace
}  // namespace deepshock
