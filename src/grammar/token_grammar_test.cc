// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_grammar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "grammar/test_grammar.h"
#include "tests/support/json_validator.h"
#include "tests/support/random_schema.h"

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t kEnd = 0;

// Every byte, what JSON is made of, words, and pieces that end one thing and begin the next.
std::shared_ptr<const TokenVocabulary> TestVocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> tokens = {"", "\xff<special>"};
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* text :
         {"\": \"", "\",",    "\"}",   "\", \"",   "\":",  "{\"",      "}}",    "]}",           "],",
          "[[",     "[\"",    "[]",    "{}",       "\n  ", "\n    \"", ", ",    ": ",           " {",
          "null",   "true",   "false", "nul",      "tru",  "alse",     "12",    "123",          "-1",
          "0.",     ".5",     "e+",    "00",       "10}",  "1, 2",     "name",  "value",        "next\":",
          " the",   "the",    "ing",   "aaaa",     "中",   "\xe4\xb8", "é\"",   "\xf0\x9f\x98", "\x98\x80",
          "\\n",    "\\u00",  "\\\"",  "\\\\",     "d83d", "red",      "green", "2024",         "-02-",
          "yes",    "\"no\"", "null}", "{\"v\": ", "  "}) {
      tokens.emplace_back(text);
    }
    tokens.emplace_back("the");  // the same bytes twice
    for (const size_t n : {8, 16, 17, 30, 300}) tokens.emplace_back(n, 'a');
    const std::vector<int32_t> ends = {kEnd};
    return std::make_shared<const TokenVocabulary>(tokens, ends);
  }();
  return vocabulary;
}

std::vector<int32_t> AllowedTokens(GrammarMatcher& matcher) {
  std::vector<uint32_t> mask(TestVocabulary()->mask_words());
  matcher.Allowed(mask);
  std::vector<int32_t> tokens;
  for (int32_t token = 0; token < TestVocabulary()->size(); ++token) {
    if ((mask[static_cast<size_t>(token) / 32] >> token % 32 & 1) != 0) tokens.push_back(token);
  }
  return tokens;
}

std::shared_ptr<TokenGrammar> MakeGrammar(const Json& schema) {
  const auto grammar = CompileJsonSchema(schema);
  EXPECT_TRUE(grammar.ok()) << schema.dump() << ": " << grammar.message();
  return grammar.ok() ? std::make_shared<TokenGrammar>(*grammar, TestVocabulary()) : nullptr;
}

TEST(TokenVocabulary, TheTriesHoldEveryTokenOnce) {
  const TokenVocabulary& vocabulary = *TestVocabulary();
  std::vector<int> seen(static_cast<size_t>(vocabulary.size()));
  for (const TokenTrie* trie : {&vocabulary.short_tokens(), &vocabulary.long_tokens()}) {
    std::string path;
    for (uint32_t node = 1; node < trie->num_nodes(); ++node) {
      path.resize(trie->depth(node) - 1u);
      path += static_cast<char>(trie->byte(node));
      EXPECT_GT(trie->subtree_end(node), node);
      EXPECT_LE(trie->subtree_end(node), trie->num_nodes());
      for (const int32_t token : trie->tokens(node)) {
        EXPECT_EQ(vocabulary.bytes(token), path);
        EXPECT_EQ(trie == &vocabulary.short_tokens(), path.size() <= TokenVocabulary::kMaxShortBytes);
        ++seen[static_cast<size_t>(token)];
      }
    }
  }
  for (int32_t token = 0; token < vocabulary.size(); ++token) {
    EXPECT_EQ(seen[static_cast<size_t>(token)], vocabulary.bytes(token).empty() ? 0 : 1) << token;
  }
  EXPECT_TRUE(vocabulary.bytes(kEnd).empty());
}

TEST(GrammarMatcher, AllowsExactlyWhatItAccepts) {
  int num_checked = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    RandomSchema random(seed);
    const Json schema = random.Schema();
    const auto grammar = MakeGrammar(schema);
    ASSERT_NE(grammar, nullptr);
    GrammarMatcher matcher(grammar);
    StackMachine machine(grammar->grammar(), false);
    uint32_t set = machine.Start(grammar->grammar().start());
    const auto after = [&](int32_t token) {
      uint32_t next = set;
      for (const char c : TestVocabulary()->bytes(token)) next = machine.Step(next, static_cast<uint8_t>(c));
      return TestVocabulary()->bytes(token).empty() ? StackMachine::kDead : next;
    };
    for (int step = 0; step < 60; ++step) {
      const std::vector<int32_t> allowed = AllowedTokens(matcher);
      ASSERT_FALSE(allowed.empty()) << schema.dump();
      for (int32_t token = 0; token < TestVocabulary()->size(); ++token) {
        const bool is_allowed = std::binary_search(allowed.begin(), allowed.end(), token);
        const bool fits = token == kEnd ? machine.ended(set) : after(token) != StackMachine::kDead;
        ASSERT_EQ(fits, is_allowed) << schema.dump() << " token " << token;
        ++num_checked;
      }
      const int32_t next = allowed[random.Below(allowed.size())];
      if (next == kEnd) break;
      set = after(next);
      ASSERT_TRUE(matcher.Accept(next));
    }
  }
  EXPECT_GT(num_checked, 100000);
}

// A walk that gets on: ends and closes where it can, once it is long.
std::string RandomWalk(GrammarMatcher& matcher, RandomSchema& random, bool* finished) {
  std::string text;
  *finished = false;
  for (int step = 0; step < 600; ++step) {
    const std::vector<int32_t> allowed = AllowedTokens(matcher);
    EXPECT_FALSE(allowed.empty()) << text;
    if (allowed.empty()) break;
    int32_t next = allowed[random.Below(allowed.size())];
    if (step > 80) {
      const auto closes = [&](int32_t token) {
        const std::string_view bytes = TestVocabulary()->bytes(token);
        return token == kEnd || bytes == "\"" || bytes == "}" || bytes == "]" || bytes == "null";
      };
      const auto at = std::find_if(allowed.begin(), allowed.end(), closes);
      if (at != allowed.end()) next = *at;
    }
    EXPECT_TRUE(matcher.Accept(next)) << text;
    if (next == kEnd) {
      *finished = true;
      break;
    }
    text += TestVocabulary()->bytes(next);
  }
  return text;
}

TEST(GrammarMatcher, WhatItAllowsIsValid) {
  int num_finished = 0;
  constexpr uint32_t kNumSchemas = 500;
  for (uint32_t seed = 0; seed < kNumSchemas; ++seed) {
    RandomSchema random(seed + 1000);
    const Json schema = random.Schema();
    const auto grammar = MakeGrammar(schema);
    ASSERT_NE(grammar, nullptr);
    GrammarMatcher matcher(grammar);
    bool finished = false;
    const std::string text = RandomWalk(matcher, random, &finished);
    if (!finished) continue;
    ++num_finished;
    const Json value = Json::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << schema.dump() << "\n" << text;
    ASSERT_TRUE(JsonValidator(schema).Valid(value)) << schema.dump() << "\n" << text;
  }
  EXPECT_GT(num_finished, kNumSchemas * 9 / 10);
}

TEST(GrammarMatcher, WhatIsValidIsAllowed) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    RandomSchema random(seed + 5000);
    const Json schema = random.Schema();
    const auto grammar = MakeGrammar(schema);
    ASSERT_NE(grammar, nullptr);
    const Json value = random.Value(schema, schema);
    ASSERT_TRUE(JsonValidator(schema).Valid(value)) << schema.dump() << "\n" << value.dump();
    // Compact and indented; in the longest tokens there are, and in single bytes.
    for (const int indent : {-1, 2}) {
      const std::string text = value.dump(indent);
      for (const bool longest : {false, true}) {
        GrammarMatcher matcher(grammar);
        for (size_t at = 0; at < text.size();) {
          int32_t best = 2 + static_cast<uint8_t>(text[at]);
          for (int32_t token = 258; longest && token < TestVocabulary()->size(); ++token) {
            const std::string_view bytes = TestVocabulary()->bytes(token);
            if (bytes.size() > TestVocabulary()->bytes(best).size() &&
                text.compare(at, bytes.size(), bytes) == 0)
              best = token;
          }
          const std::vector<int32_t> allowed = AllowedTokens(matcher);
          ASSERT_TRUE(std::binary_search(allowed.begin(), allowed.end(), best)) << schema.dump() << "\n"
                                                                                << text << "\nat " << at;
          ASSERT_TRUE(matcher.Accept(best));
          at += TestVocabulary()->bytes(best).size();
        }
        ASSERT_TRUE(matcher.CanEnd()) << schema.dump() << "\n" << text;
      }
    }
  }
}

TEST(GrammarMatcher, EndsOnceAndAllowsNothingAfterIt) {
  GrammarMatcher matcher(MakeGrammar(Json::parse(R"({"type":"boolean"})")));
  EXPECT_FALSE(matcher.Accept(kEnd));
  EXPECT_FALSE(matcher.Accept(1));  // special
  EXPECT_FALSE(matcher.Accept(-1));
  EXPECT_FALSE(matcher.Accept(1 << 20));
  for (const char c : std::string("true")) EXPECT_TRUE(matcher.Accept(2 + c));
  EXPECT_EQ(AllowedTokens(matcher), std::vector<int32_t>{kEnd});
  EXPECT_TRUE(matcher.Accept(kEnd));
  EXPECT_TRUE(AllowedTokens(matcher).empty());
  EXPECT_FALSE(matcher.Accept(kEnd));
}

TEST(GrammarMatcher, DeepNestingStaysSmallAndRight) {
  GrammarMatcher matcher(MakeGrammar(Json::parse(R"({"type":"array","items":{"$ref":"#"}})")));
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(matcher.Accept(2 + '['));
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(matcher.Accept(2 + ']')) << i;
  EXPECT_TRUE(matcher.CanEnd());
  EXPECT_FALSE(matcher.Accept(2 + ']'));
}

TEST(GrammarMatcher, AlikeStatesShareTheMaskOfShortTokens) {
  // Ends of strings differ within reach of a short token: 16 of them, and all others look the same.
  const auto grammar = MakeGrammar(Json::parse(R"({"type":"string","pattern":"^[a-z]*$","maxLength":500})"));
  std::set<const TokenGrammar::StateMask*> masks;
  for (uint32_t state = 0; state < grammar->grammar().num_states(); ++state) {
    masks.insert(grammar->ShortMask(state).get());
    EXPECT_EQ(grammar->ShortMask(state).get(), grammar->ShortMask(state).get());
  }
  EXPECT_GT(grammar->grammar().num_states(), 500u);
  EXPECT_LT(masks.size(), 80u);
}

TEST(GrammarMatcher, CountsStringsToTheEnd) {
  for (const char* schema :
       {R"({"type":"string","maxLength":40})", R"({"type":"string","pattern":"^.*$","maxLength":40})"}) {
    GrammarMatcher matcher(MakeGrammar(Json::parse(schema)));
    ASSERT_TRUE(matcher.Accept(2 + '"'));
    for (int left = 40; left > 0; --left) {
      for (const int32_t token : AllowedTokens(matcher)) {
        const std::string_view bytes = TestVocabulary()->bytes(token);
        const bool counts = bytes.find_first_not_of('a') == std::string_view::npos;
        EXPECT_TRUE(!counts || bytes.size() <= static_cast<size_t>(left));
      }
      ASSERT_TRUE(matcher.Accept(2 + 'a'));
    }
    EXPECT_FALSE(matcher.Accept(2 + 'a'));
  }
}

}  // namespace
}  // namespace deepshock
