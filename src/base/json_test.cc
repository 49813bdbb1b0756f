// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gtest/gtest.h>

#include "base/file_test_dir.h"
#include "base/utf8.h"

namespace deepshock {
namespace {

// The error, which must be one line; empty for success.
std::string Problem(std::string_view text) {
  const Result<Json> json = ParseJson(text);
  EXPECT_EQ(json.message().find('\n'), std::string::npos) << json.message();
  return json.message();
}
bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Json, Parses) {
  const Result<Json> json =
      ParseJson(R"( {"a": [1, -2.5, true, null, "\u00e9\ud83d\ude00"], "b": {"a": {}}} )");
  ASSERT_TRUE(json.ok()) << json.message();
  EXPECT_EQ((*json)["a"][0], 1);
  EXPECT_EQ((*json)["a"][4], "é😀");
  EXPECT_TRUE((*json)["b"]["a"].is_object());
  for (const char* scalar : {"1", "\"x\"", "null", "[]", "{}"}) EXPECT_EQ(Problem(scalar), "") << scalar;
}

TEST(Json, InvalidSyntaxTellsThePosition) {
  for (const char* text :
       {"",    " ",  "{",       "[1,",         "[1,]", "{\"a\":}", "{\"a\" 1}",   "{a: 1}",   "1 2", "[1] x",
        "nul", "01", "\"\\x\"", "\"\\ud800\"", "'a'",  "// c\n1",  "[1\n,\n\n?]", "\"a\nb\"", "+1",  "NaN"}) {
    const std::string problem = Problem(text);
    EXPECT_TRUE(Has(problem, "line")) << text << ": " << problem;
    EXPECT_FALSE(Has(problem, "json.exception")) << problem;
  }
  EXPECT_TRUE(Has(Problem("[1\n,\n\n?]"), "line 4")) << Problem("[1\n,\n\n?]");
}

TEST(Json, InvalidUtf8) {
  for (const char* text : {"\"\xFF\"", "\"\xC3\"", "\"\xED\xA0\x80\"", "\"\xC0\xAF\"", "{\"\x80\": 1}",
                           "\xFF", "\"\xF4\x90\x80\x80\""}) {
    EXPECT_NE(Problem(text), "") << text;
    EXPECT_TRUE(FindInvalidUtf8(Problem(text)) == std::string_view::npos);
  }
}

TEST(Json, NulDoesNotHideWhatFollows) {
  for (const std::string_view text : {std::string_view("[]\0\xFF", 4), std::string_view("\0", 1),
                                      std::string_view("[]\0", 3), std::string_view("\"a\0b\"", 5)}) {
    EXPECT_TRUE(Has(Problem(text), "NUL byte at offset"));
  }
}

TEST(Json, MessagesAreShort) {
  const std::string name(1 << 16, 'n');
  EXPECT_LT(Problem("{\"" + name + "\": 1, \"" + name + "\": 2}").size(), 500u);
  EXPECT_LT(Problem("\"" + name).size(), 500u);
}

TEST(Json, NumbersOutOfRange) {
  EXPECT_NE(Problem("1e999"), "");
  EXPECT_EQ(Problem("123456789012345678901234567890"), "");  // becomes a double
}

TEST(Json, KeysOnceInAnObject) {
  EXPECT_TRUE(Has(Problem(R"({"a": 1, "b": 2, "a": 3})"), "\"a\" occurs twice"));
  EXPECT_TRUE(Has(Problem(R"({"x": [{"a": 1, "\u0061": 3}]})"), "\"a\" occurs twice"));
  EXPECT_TRUE(Has(Problem(R"({"a": {"b": 1}, "a": {}})"), "\"a\" occurs twice"));
  EXPECT_EQ(Problem(R"({"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]})"), "");
  // The first problem is the one that is told, wherever parsing stops.
  EXPECT_TRUE(Has(Problem(R"({"a": 1, "a": [1, {"b": 2, "b")"), "\"a\" occurs twice"));
  // A name with line breaks does not break the message's one line.
  EXPECT_TRUE(Has(Problem("{\"a\\nb\": 1, \"a\\nb\": 2}"), "a\\u000ab"));
}

TEST(Json, Depth) {
  const auto nested = [](int depth, const char* open, const char* close) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += open;
    text += "1";
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_EQ(Problem(nested(kMaxJsonDepth, "[", "]")), "");
  EXPECT_EQ(Problem(nested(kMaxJsonDepth, "{\"a\":", "}")), "");
  EXPECT_TRUE(Has(Problem(nested(kMaxJsonDepth + 1, "[", "]")), "at most 128 levels"));
  EXPECT_TRUE(Has(Problem(nested(kMaxJsonDepth + 1, "{\"a\":", "}")), "at most 128 levels"));
  // Ends at the limit; neither the stack nor the time grows with the rest.
  EXPECT_TRUE(Has(Problem(std::string(20'000'000, '[')), "at most 128 levels"));
}

TEST(Json, File) {
  const FileTestDir dir;
  dir.Put("a.json", "{\"a\": 1}");
  EXPECT_EQ((*ReadJsonFile(dir.File("a.json"), 100))["a"], 1);
  EXPECT_TRUE(Has(ReadJsonFile(dir.File("a.json"), 3).message(), "at most 3 bytes"));
  dir.Put("b.json", "{");
  EXPECT_EQ(ReadJsonFile(dir.File("b.json"), 100).message().find(dir.File("b.json") + ": "), 0u);
  EXPECT_TRUE(Has(ReadJsonFile(dir.File("c.json"), 100).message(), "c.json"));
}

}  // namespace
}  // namespace deepshock
