// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_schema.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "grammar/test_grammar.h"

namespace deepshock {
namespace {

void Expect(std::string_view schema, const std::vector<std::string>& valid,
            const std::vector<std::string>& invalid) {
  const auto grammar = MustCompile(schema);
  if (grammar == nullptr) return;
  for (const std::string& text : valid) EXPECT_TRUE(Matches(*grammar, text)) << schema << "\n" << text;
  for (const std::string& text : invalid) EXPECT_FALSE(Matches(*grammar, text)) << schema << "\n" << text;
}

TEST(JsonSchema, Types) {
  Expect(R"({"type":"boolean"})", {"true", "false", " true", "\n  true"},
         {"", "tru", "truefalse", "null", "  true", "true "});
  Expect(R"({"type":"null"})", {"null"}, {"nul", "0"});
  Expect(R"({"type":"integer"})", {"0", "-1", "120", "999999999999999", "-0"},
         {"01", "1.0", "1e3", "", "-", "+1", "1000000000000000"});
  Expect(R"({"type":"number"})", {"0", "-1.5", "1e9", "0.25E-3", "12.000"},
         {".5", "1.", "1e", "01", "1e999", "NaN"});
  Expect(R"({"type":["string","null"]})", {"null", "\"\"", "\"a\""}, {"1", "\"a"});
  Expect(R"(true)", {"null", "[1, {\"a\": []}]", "\"x\"", "-2.5"}, {"", "[1,]", "{\"a\"}"});
}

TEST(JsonSchema, StringsAreJsonAndUtf8) {
  Expect(R"({"type":"string"})",
         {R"("")", R"("a\n\"\\\/\u00e9\uD83d\ude00")", "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\x7f\""},
         {"\"\n\"", R"("\x")", R"("\u12")", R"("\ud800")", R"("\ud800\u0041")", R"("\udc00")", "\"\xc3\"",
          "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", R"("a"b")"});
  Expect(R"({"type":"string","minLength":2,"maxLength":3})",
         {R"("ab")", R"("abc")", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
         {R"("a")", R"("abcd")", R"("\ud83d\ude00")", R"("")"});
  // Around the borders of blocks.
  for (const size_t least : {0, 1, 257}) {
    for (const size_t more : {0, 255, 600}) {
      const auto grammar = MustCompile(R"({"type":"string","minLength":)" + std::to_string(least) +
                                       ",\"maxLength\":" + std::to_string(least + more) + "}");
      ASSERT_NE(grammar, nullptr);
      for (const size_t length :
           std::set<size_t>{0, 1, 255, 256, 257, least - 1, least, least + more, least + more + 1}) {
        if (length > 2000) continue;
        EXPECT_EQ(Matches(*grammar, '"' + std::string(length, 'x') + '"'),
                  least <= length && length <= least + more)
            << least << " " << more << " " << length;
      }
    }
  }
  Expect(R"({"type":"string","minLength":1})", {R"("a")", R"("abcdefghij")"}, {R"("")"});
}

TEST(JsonSchema, Patterns) {
  Expect(R"({"type":"string","pattern":"^[a-c]+\\d{2,3}$"})", {R"("a12")", R"("abc123")"},
         {R"("12")", R"("a1")", R"("a1234")", R"("xa12")", R"("a12 ")"});
  Expect(R"({"type":"string","pattern":"b+"})", {R"("b")", R"("abba")", R"("\n\u0000b")"},
         {R"("")", R"("aca")"});
  Expect(R"({"type":"string","pattern":"^(a|bc)*$","maxLength":4})", {R"("")", R"("abca")", R"("bcbc")"},
         {R"("b")", R"("aaaaa")"});
  Expect(R"({"type":"string","pattern":"^a|b$"})", {R"("axx")", R"("xxb")"}, {R"("xax")"});
  Expect(R"({"type":"string","pattern":"^[^a]$"})",
         {R"("b")", R"("\"")", R"("\\")", R"("\n")", "\"\xe4\xb8\xad\""}, {R"("a")", R"(""")", R"("\")"});
  Expect(R"({"type":"string","pattern":"^\\u00e9\\x41\\.\\w\\s$"})",
         {"\"\xc3\xa9"
          "A._ \""},
         {R"("A._ ")"});
  Expect(R"({"type":"string","pattern":"^(?:(?<year>\\d{4})-)?x*?$"})", {R"("2024-x")", R"("")"},
         {R"("202-")"});
  EXPECT_EQ(CompileError(R"j({"properties":{"a":{"type":"string","pattern":"(?=a)"}}})j"),
            "JSON schema: /properties/a: pattern \"(?=a)\": look-around at offset 0 is not supported");
  CompileError(R"({"type":"string","pattern":"(a"})");
  CompileError(R"j({"type":"string","pattern":"a)"})j");
  CompileError(R"({"type":"string","pattern":"a**"})");
  CompileError(R"({"type":"string","pattern":"\\1"})");
  CompileError(R"({"type":"string","pattern":"a\\b"})");
  CompileError(R"({"type":"string","pattern":"a^b"})");
  CompileError(R"({"type":"string","pattern":"[a"})");
  CompileError(R"({"type":"string","pattern":"a{3,2}"})");
}

TEST(JsonSchema, Formats) {
  Expect(R"({"type":"string","format":"date"})", {R"("2024-02-29")", R"("2023-12-31")"},
         {R"("2023-02-29")", R"("2023-04-31")", R"("2023-13-01")", R"("1900-02-29")", R"("2023-1-1")"});
  Expect(R"({"type":"string","format":"date-time"})",
         {R"("2024-02-29T23:59:59Z")", R"("2024-02-29T00:00:00.5+01:00")"},
         {R"("2024-02-29")", R"("2024-02-29T24:00:00Z")"});
  Expect(R"({"type":"string","format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"},
         {R"("123e4567")"});
  Expect(R"({"type":"string","format":"email"})", {R"("a.b@c.de")"},
         {R"("a@b")", R"("@c.de")", R"("a b@c.de")"});
  Expect(R"({"type":"string","format":"ipv4"})", {R"("127.0.0.1")", R"("255.255.255.255")"},
         {R"("256.0.0.1")", R"("1.2.3")", R"("01.2.3.4")"});
  Expect(R"({"type":"string","format":"ipv6"})",
         {R"("::1")", R"("2001:db8::ff00:42:8329")", R"("1:2:3:4:5:6:7:8")", R"("::")"},
         {R"("1:2:3")", R"("1::2::3")", R"("1:2:3:4:5:6:7:8:9")"});
  Expect(R"({"type":"string","format":"duration"})", {R"("P1Y2M3D")", R"("PT5M")", R"("P3W")"},
         {R"("P")", R"("PT")"});
  Expect(R"({"type":"string","format":"uri"})", {R"("https://example.org/a?b=c#d")", R"("mailto:x")"},
         {R"("nothing")"});
  EXPECT_NE(CompileError(R"({"type":"string","format":"colour"})").find("/format"), std::string::npos);
}

TEST(JsonSchema, NumberRanges) {
  Expect(R"({"type":"integer","minimum":-12,"maximum":105})", {"-12", "-9", "0", "7", "99", "100", "105"},
         {"-13", "106", "110", "200", "1000", "-20", "05"});
  Expect(R"({"type":"integer","exclusiveMinimum":3,"maximum":10})", {"4", "10"}, {"3", "11", "0", "-4"});
  Expect(R"({"type":"integer","minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"});
  Expect(R"({"type":"number","minimum":-0.5,"exclusiveMaximum":1.25})",
         {"-0.5", "-0.499", "0", "0.0", "1", "1.2", "1.249", "-0.1"},
         {"-0.51", "1.25", "1.250", "1.3", "-1", "2", "-0.5000001"});
  Expect(R"({"type":"number","minimum":10})", {"10", "10.0", "11", "100.5", "99999"}, {"9.999", "-10", "0"});
  Expect(R"({"type":"number","maximum":-3})", {"-3", "-3.5", "-100"}, {"-2.99", "0", "3"});
  Expect(R"({"type":"number","exclusiveMinimum":0})", {"0.001", "1"}, {"0", "0.0", "-1"});
  Expect(R"({"type":"integer","minimum":0,"maximum":100,"multipleOf":7})", {"0", "7", "98"},
         {"8", "105", "-7", "07"});
  Expect(R"({"type":"number","multipleOf":0.25,"minimum":0})", {"0", "0.25", "0.5", "0.50", "3"},
         {"0.3", "0.125"});
  Expect(R"({"type":"number","minimum":3,"exclusiveMinimum":true})", {"3.1"}, {"3"});
  Expect(R"({"type":"integer","minimum":0,"maximum":9007199254740993})", {"9007199254740993", "0"},
         {"9007199254740994", "-1"});
  CompileError(R"({"type":"integer","minimum":5,"maximum":4})");
  CompileError(R"({"type":"integer","multipleOf":123456789})");
}

TEST(JsonSchema, Objects) {
  const char* schema =
      R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"boolean"},"c":{"type":"null"}},
                           "required":["b"]})";
  Expect(schema,
         {R"({"b":true})", R"({"a": 1, "b": false})", R"({"a":1,"b":true,"c":null})",
          R"({"b":true,"c":null})", "{\n  \"a\": 1,\n  \"b\": true\n}"},
         {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"b":true,})", R"({"b":true,"x":1})",
          R"({"b":true,"b":true})", R"({"a":1 ,"b":true})", R"({"a":1  ,"b":true})", R"({,"b":true})"});
  Expect(R"({"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}})",
         {R"({})", R"({"a":"x","b":1})", R"({"b":1,"c":2})"},
         {R"({"b":"x"})", R"({"a":1,"a":2})", R"({"\u0061":2})"});
  Expect(R"({"type":"object"})", {"{}", R"({"x":[{}]})", "{ }"}, {"[]"});
  Expect(R"({"type":"object","properties":{},"additionalProperties":false})", {"{}"}, {R"({"x":1})"});
  Expect(R"({"type":"object","required":["x"]})", {R"({"x":1})"}, {"{}", R"({"y":1})"});
  Expect(R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})",
         {R"({"x":1})", R"({"x":1,"y":2})"}, {"{}", R"({"x":1,"y":2,"z":3})"});
  Expect(R"({"properties":{"a":{},"b":{},"c":{}},"minProperties":2})",
         {R"({"a":1,"c":1})", R"({"a":1,"b":2,"c":1})"}, {R"({"a":1})", "{}"});
  Expect(R"({"type":"object","patternProperties":{"^n_":{"type":"integer"},"^s_":{"type":"string"}}})",
         {R"({"n_a":1,"s_b":"x"})", "{}"}, {R"({"n_a":"x"})", R"({"q":1})"});
  Expect(
      R"({"type":"object","propertyNames":{"pattern":"^[a-z]{1,3}$"},"additionalProperties":{"type":"integer"}})",
      {R"({"ab":1})"}, {R"({"abcd":1})"});
  Expect(R"({"type":"object","properties":{"a\"\n":{"type":"null"}}})", {R"({"a\"\n":null})"},
         {"{\"a\"\n\":null}"});
}

TEST(JsonSchema, Arrays) {
  Expect(R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1]", "[1, 2,3]", "[\n\t1\n]", "[ 1 ]"},
         {"[1,]", "[,1]", "[\"a\"]", "[1"});
  Expect(R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})", {"[1,2]", "[1,2,3]"},
         {"[]", "[1]", "[1,2,3,4]"});
  Expect(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":2})",
         {R"([1,"a"])"}, {"[1]", R"(["a",1])", R"([1,"a",2])"});
  Expect(R"({"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"null"}})",
         {"[]", "[1]", "[1,null,null]"}, {"[null]", "[1,1]"});
  Expect(R"({"type":"array","items":[{"type":"integer"}],"additionalItems":false})", {"[]", "[1]"},
         {"[1,1]"});
  Expect(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
}

TEST(JsonSchema, EnumsAndChoices) {
  Expect(R"({"enum":["a","\"b\"",1,null,{"x":[1,2]}]})",
         {R"("a")", R"("\"b\"")", "1", "null", R"({"x": [1, 2]})"}, {R"("c")", "2", R"({"x":[1]})"});
  Expect(R"({"const":"only"})", {R"("only")"}, {R"("x")"});
  Expect(R"({"type":"string","enum":["a",1,"bbb"],"maxLength":2})", {R"("a")"}, {"1", R"("bbb")"});
  Expect(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"12", R"("x")"},
         {"true", R"("xy")"});
  Expect(
      R"({"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"v":{"type":"integer"}},"required":["t","v"]},
                     {"type":"object","properties":{"t":{"const":"b"},"w":{"type":"string"}},"required":["t","w"]}]})",
      {R"({"t":"a","v":1})", R"({"t":"b","w":"x"})"}, {R"({"t":"a","w":"x"})", R"({"t":"b","v":1})"});
  Expect(R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},
                     {"properties":{"b":{"type":"string"},"a":{"minimum":3}},"required":["b"]}]})",
         {R"({"a":3,"b":"x"})"}, {R"({"a":2,"b":"x"})", R"({"a":3})"});
  Expect(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
            "anyOf":[{"required":["a"]},{"required":["b"]}]})",
         {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"}, {"{}"});
  Expect(R"({"type":"string","nullable":true})", {"null", R"("x")"}, {"1"});
  Expect(R"({"properties":{"a":false,"b":{"type":"integer"}},"required":["b"]})", {R"({"b":1})"},
         {R"({"a":1,"b":1})"});
  EXPECT_NE(CompileError(R"({"type":"string","enum":[1,2]})").find("no value satisfies"), std::string::npos);
  CompileError("false");
}

TEST(JsonSchema, References) {
  const char* tree = R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},
      "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/node"})";
  Expect(tree, {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
         {R"({"v":1})", R"({"v":1,"next":{"v":2}})"});
  Expect(R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"});
  EXPECT_NE(CompileError(R"({"$ref":"#/$defs/x"})").find("/$ref: expected a reference"), std::string::npos);
  // Never ends; and refers to itself before anything is read.
  EXPECT_NE(
      CompileError(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})").find("no value"),
      std::string::npos);
  EXPECT_NE(CompileError(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})").find("recursion"), std::string::npos);
  CompileError(R"({"$ref":"#"})");
  CompileError(R"({"$ref":"#","type":"string"})");
  CompileError(R"({"$ref":"http://example.org/x"})");
}

TEST(JsonSchema, WhatIsNotSupportedIsNamed) {
  for (const auto& [schema, message] : std::vector<std::pair<const char*, const char*>>{
           {R"({"properties":{"a":{"not":{}}}})", "JSON schema: /properties/a/not: not supported"},
           {R"({"items":{"uniqueItems":true}})", "JSON schema: /items/uniqueItems: not supported"},
           {R"({"if":{},"then":{}})", "JSON schema: /if: not supported"},
           {R"({"a/b~c":1})", "JSON schema: /a~1b~0c: unknown keyword"},
           {R"({"anyOf":[{"type":"strin"}]})",
            "JSON schema: /anyOf/0/type: expected string, integer, number, object, array, boolean or null, "
            "found "
            "\"strin\""},
           {R"({"minLength":-1})", "JSON schema: /minLength: expected an integer of at least 0, found -1"},
           {R"({"required":[1]})", "JSON schema: /required: expected a list of strings, found [1]"},
           {"3", "JSON schema: : expected a schema: an object, true or false, found 3"}}) {
    EXPECT_EQ(CompileError(schema), message);
  }
  MustCompile(
      R"({"title":"t","description":"d","default":1,"examples":[1],"x-own":2,"uniqueItems":false,"$id":"u",
                  "$schema":"s","type":"integer"})");
}

TEST(JsonSchema, HostileSchemasEndInAnError) {
  std::string deep = "true";
  for (int i = 0; i < 100; ++i) deep = R"({"items":)" + deep + "}";
  EXPECT_NE(CompileError(deep).find("nested schemas"), std::string::npos);
  CompileError(R"({"type":"string","pattern":"^(((a{1,100}){1,100}){1,100}){1,100}$"})");
  CompileError(R"({"type":"string","pattern":"(a|b)*a(a|b){200}"})");
  CompileError(R"({"type":"string","minLength":10000000000})");
  MustCompile(R"({"type":"string","maxLength":1000000})");
  CompileError(R"({"type":"array","maxItems":1000000000})");
  CompileError(R"({"type":"object","additionalProperties":true,"minProperties":1000000000})");
  std::string doubling = R"({"$defs":{"a0":{"type":"object"})";
  for (int i = 1; i < 40; ++i) {
    const std::string ref = R"({"$ref":"#/$defs/a)" + std::to_string(i - 1) + "\"}";
    doubling += ",\"a" + std::to_string(i) + "\":{\"allOf\":[" + ref + "," + ref + "]}";
  }
  CompileError(doubling + R"(},"$ref":"#/$defs/a39"})");
  std::string many = R"({"type":"object","allOf":[)";
  for (int i = 0; i < 12; ++i)
    many += std::string(i > 0 ? "," : "") + R"({"anyOf":[{"minProperties":1},{"maxProperties":9}]})";
  CompileError(many + "]}");
}

TEST(JsonObject, IsAnyObject) {
  const auto grammar = CompileJsonObject();
  ASSERT_TRUE(grammar.ok());
  EXPECT_TRUE(Matches(**grammar, R"({"a": {"b": [1, 2.5, "x", null]}})"));
  EXPECT_FALSE(Matches(**grammar, "[]"));
  EXPECT_FALSE(Matches(**grammar, "{} "));
}

TEST(Regex, MatchesTheWhole) {
  const auto grammar = CompileRegex("(yes|no)!?");
  ASSERT_TRUE(grammar.ok());
  EXPECT_TRUE(Matches(**grammar, "yes!"));
  EXPECT_FALSE(Matches(**grammar, "yes!!"));
  EXPECT_FALSE(CompileRegex("(").ok());
}

}  // namespace
}  // namespace deepshock
