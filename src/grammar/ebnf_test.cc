// SPDX-License-Identifier: Apache-2.0
#include "grammar/ebnf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/test_grammar.h"

namespace deepshock {
namespace {

void Expect(std::string_view text, const std::vector<std::string>& matching,
            const std::vector<std::string>& others) {
  const auto grammar = CompileEbnf(text);
  ASSERT_TRUE(grammar.ok()) << text << ": " << grammar.message();
  for (const std::string& x : matching) EXPECT_TRUE(Matches(**grammar, x)) << text << "\n" << x;
  for (const std::string& x : others) EXPECT_FALSE(Matches(**grammar, x)) << text << "\n" << x;
}

std::string Error(std::string_view text) {
  const auto grammar = CompileEbnf(text);
  EXPECT_FALSE(grammar.ok()) << text;
  return grammar.message();
}

TEST(Ebnf, RulesLiteralsClassesAndRepetition) {
  Expect(R"(root ::= "yes" | "no" reason{0,2}   # an answer
reason ::= [ ] ("because " |
  [^a-z\n]+))",
         {"yes", "no", "no because ", "no 12 because "},
         {"", "yes ", "noo", "no 1\n", "no because  because  because "});
  Expect("root ::= (\"ab\")+ [a-c-]? .", {"abx", "abab-é", "abc\n"}, {"ab", "x", "abdd"});
  Expect("root ::= \"\\\"\\x41\\u00e9\\n\" \"z\"*", {"\"A\xc3\xa9\n", "\"A\xc3\xa9\nzz"}, {"A"});
  Expect("root ::= list\nlist ::= \"[\" (list (\",\" list)*)? \"]\"", {"[]", "[[],[[]]]"},
         {"[", "[,]", "[]]"});
  Expect("root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]{1,2} | \"(\" expr \")\"",
         {"1+(2+33)", "4"}, {"1+", "123", "(1"});
  Expect("root ::= a* \"!\"\na ::= \"x\"?", {"!", "xxx!"}, {"x"});
}

TEST(Ebnf, FaultsAreNamed) {
  EXPECT_EQ(Error("start ::= \"a\""), "grammar: expected a rule named \"root\", found none");
  EXPECT_EQ(Error("root ::= other"), "grammar: rule \"other\" is used and not defined");
  EXPECT_EQ(Error("root ::= \"a\nb\""), "grammar: line 1: expected a character, found \" b\"\"");
  EXPECT_EQ(Error("root ::= \"a\"\nroot ::= \"b\""), "grammar: rule \"root\" is defined twice");
  EXPECT_NE(Error("root ::= root \"a\" | \"b\"").find("recursion"), std::string::npos);
  Error("root ::= (\"a\"");
  Error("root ::= \"a\")");
  Error("root ::= [b-a]");
  Error("root ::= \"a\"{3,2}");
  Error("root ::= \"a\"**");
  Error("root ::= \"\\q\"");
  Error("root");
  Error("");
  Error("\xff");
  Error("root ::= ((((\"a\"{1000}){1000}){1000}){1000})");
  Error("root ::= " + std::string(1000, '('));
}

}  // namespace
}  // namespace deepshock
