// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#include <gtest/gtest.h>

#include "text/regex_syntax.h"

namespace deepshock {
namespace {

std::vector<std::string> Find(std::string_view pattern, const std::string& text) {
  const auto regex = Regex::Compile(pattern);
  if (!regex.ok()) return {"error: " + regex.message()};
  RegexScratch scratch;
  std::vector<TextRange> matches;
  const std::string matching = TextForMatching(text);
  regex->FindAll(matching.empty() ? text : matching, scratch, &matches);
  std::vector<std::string> found;
  for (const TextRange& match : matches) found.push_back(text.substr(match.begin, match.size()));
  return found;
}

using Texts = std::vector<std::string>;

TEST(Regex, ReadsOnigurumasSyntax) {
  EXPECT_EQ(Find(R"(\h+)", "xbeef g"), Texts({"beef"}));                // hexadecimal digits
  EXPECT_EQ(Find(R"(\p{N}{1,3}+)", "12345 6"), Texts({"12345", "6"}));  // repeats, not possessive
  EXPECT_EQ(Find(R"(a{,2}b)", "aaab"), Texts({"aab"}));
  EXPECT_EQ(Find(R"(a{2}?b)", "aab b"), Texts({"aab", "b"}));  // optional, not lazy
  EXPECT_EQ(Find(R"(a{x})", "a{x}"), Texts({"a{x}"}));
  EXPECT_EQ(Find(R"((?m:a.b))", "a\nb"), Texts({"a\nb"}));  // m lets the dot match a newline
  EXPECT_EQ(Find(R"(a.b)", "a\nb"), Texts());
  EXPECT_EQ(Find(R"(^.)", "ab\ncd"), Texts({"a", "c"}));  // ^ and $ know lines
  EXPECT_EQ(Find(R"([a-z&&[^aeiou]]+)", "abcde"), Texts({"bcd"}));
  EXPECT_EQ(Find(R"([\p{Lu}\p{Ll}&&[^\p{Latin}]]+)", "aжd1"), Texts({"ж"}));
  EXPECT_EQ(Find(R"([a[0-9]]+)", "ba12"), Texts({"a12"}));
  EXPECT_EQ(Find(R"([[:punct:]]+)", "a+!b"), Texts({"+!"}));
  EXPECT_EQ(Find("[\\u4e00-\\u9fa5]+", "x中文y"), Texts({"中文"}));
  EXPECT_EQ(Find(R"(\p{^L}+)", "a12b"), Texts({"12"}));
  EXPECT_EQ(Find(R"(\p{uppercase_letter})", "aB"), Texts({"B"}));
  EXPECT_EQ(Find(R"((?i:'s|'T))", "'S't"), Texts({"'S", "'t"}));
  EXPECT_EQ(Find(R"([^\W\d]+)", "a1_é!"), Texts({"a", "_é"}));
  EXPECT_EQ(Find(R"(\b)", "a b").size(), 4u);
  EXPECT_EQ(Find(R"([]a]+)", "a]"), Texts({"a]"}));
  EXPECT_EQ(Find(R"([a\-c]+)", "b-c"), Texts({"-c"}));
}

TEST(Regex, ClassesFollowTheNewerUnicode) {
  EXPECT_EQ(Find(R"(\s)", "\xe1\xa0\x8e"), Texts());           // U+180E is no blank any more
  EXPECT_EQ(Find(R"(\p{L})", "\xf0\xb1\x8d\x90").size(), 1u);  // U+31350, Unicode 15
  EXPECT_EQ(Find(R"(\p{Han})", "\xf0\xb1\x8d\x90").size(), 1u);
  EXPECT_EQ(Find(R"(\p{Han})", "\xe3\x83\xbb").size(), 0u);  // U+30FB: the script, not its extensions
  EXPECT_EQ(Find(R"(\w)", "\xcc\x81").size(), 1u);           // marks are word characters
  EXPECT_TRUE(TextForMatching("plain ascii, ж, 中文, 😀").empty());
}

TEST(Regex, CountsEmptyMatchesAsOnigurumaDoes) {
  EXPECT_EQ(Find("a*", "baac"), Texts({"", "aa", ""}));
  EXPECT_EQ(Find("", "é"), Texts({"", ""}));
}

TEST(Regex, RefusesWhatItCannotExpress) {
  for (const char* pattern :
       {"(", ")", "[", "[]", "a\\", "(?~a)", "(?y{g})", "\\p{Nonsense}", "\\u12", "[b-a]", "a(?i)b|c",
        "[[:graph:]]", "\\x{d800}", "\\x{110000}", "(*FAIL)", "\\C"}) {
    const auto regex = Regex::Compile(pattern);
    EXPECT_FALSE(regex.ok()) << pattern;
  }
}

TEST(Regex, LongTextNeedsNoSpecialStack) {
  // A group per character: neither the generated code's small stack nor, in the end, its large one is enough.
  for (const size_t size : {1000u, 100000u, 1500000u}) {
    const std::string text(size, 'a');
    const Texts found = Find("(?:(?=a)a|b)*c?", text);
    EXPECT_TRUE(found.size() == 1 && found[0] == text) << size;
  }
}

TEST(Regex, TimeIsBoundedWhateverThePattern) { EXPECT_EQ(Find("(?:a+)+b", std::string(64, 'a')), Texts()); }

TEST(Regex, TrailingBlanksAreNotTriedAtEveryPosition) {
  const std::string text = std::string(400000, ' ') + "x" + std::string(5, ' ');
  EXPECT_EQ(Find(R"(\s+$)", text), Texts({std::string(5, ' ')}));
  EXPECT_EQ(Find(R"(\s+$)", "a  \n\n b \n"), Texts({"  \n", " \n"}));
}

TEST(Regex, EscapesLiterals) { EXPECT_EQ(Find(EscapeRegex("a.*[é]\n"), "a.*[é]\n"), Texts({"a.*[é]\n"})); }

}  // namespace
}  // namespace deepshock
