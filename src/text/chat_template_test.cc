// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

struct Snippet {
  const char* source;
  const char* text;  // nullptr: an error
};

#include "text/jinja_snippets_test.inc"

RenderOptions Options() {
  RenderOptions options;
  options.now = [] {
    std::tm now = {};  // Friday 2024-07-26 12:34:56
    now.tm_year = 124;
    now.tm_mon = 6;
    now.tm_mday = 26;
    now.tm_hour = 12;
    now.tm_min = 34;
    now.tm_sec = 56;
    now.tm_wday = 5;
    now.tm_yday = 207;
    return now;
  };
  return options;
}

Result<std::string> Render(std::string_view source, const Json& variables = Json::object(),
                           const RenderOptions& options = Options()) {
  DS_ASSIGN(const auto compiled, ChatTemplate::Compile(source, "test"));
  return compiled->Render(variables, options);
}

std::string ErrorOf(std::string_view source, const Json& variables = Json::object()) {
  const auto text = Render(source, variables);
  return text.ok() ? "no error" : text.message();
}

TEST(ChatTemplate, SnippetsAreWhatJinja2Makes) {
  const Json variables = Json::parse(kVariables);
  for (const Snippet& snippet : kSnippets) {
    const auto text = Render(snippet.source, variables);
    if (snippet.text == nullptr) {
      EXPECT_FALSE(text.ok()) << snippet.source << "\nmade: " << (text.ok() ? *text : "");
    } else {
      ASSERT_TRUE(text.ok()) << snippet.source << "\n" << text.message();
      EXPECT_EQ(*text, snippet.text) << snippet.source;
    }
  }
}

TEST(ChatTemplate, ChatMarkup) {
  const std::string source =
      "{%- for m in messages %}\n"
      "    {%- if m.role == 'user' %}\n"
      "        {{- '<|user|>' + m.content + '\\n' }}\n"
      "    {%- else %}\n"
      "        {{- '<|assistant|>' + (m.content | trim) + eos_token + '\\n' }}\n"
      "    {%- endif %}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{% endif %}\n";
  const Json variables = {{"messages",
                           {{{"role", "user"}, {"content", "Hi"}},
                            {{"role", "assistant"}, {"content", " Hello "}},
                            {{"role", "user"}, {"content", "Bye"}}}},
                          {"eos_token", "</s>"},
                          {"add_generation_prompt", true}};
  EXPECT_EQ(Render(source, variables).value(),
            "<|user|>Hi\n<|assistant|>Hello</s>\n<|user|>Bye\n<|assistant|>");
}

TEST(ChatTemplate, KeysKeepTheirOrder) {
  const Json variables = Json::parse(R"({"tool": {"type": "f", "b": {"z": 1, "a": 2}, "a": []}})");
  EXPECT_EQ(Render("{{ tool | tojson }}", variables).value(),
            R"({"type": "f", "b": {"z": 1, "a": 2}, "a": []})");
}

TEST(ChatTemplate, TheClockIsTheCallers) {
  EXPECT_EQ(Render("{{ strftime_now('%d %b %Y, %H:%M:%S.%f %A%z') }}").value(),
            "26 Jul 2024, 12:34:56.000000 Friday");
}

TEST(ChatTemplate, ErrorsNameTheTemplateAndTheLine) {
  EXPECT_EQ(ErrorOf("a\nb\n{{ raise_exception('Roles must\nalternate') }}"),
            "test: line 3: Roles must alternate");
  EXPECT_EQ(ErrorOf("a\n{{ nosuch.x }}"), "test: line 2: 'nosuch' is undefined");
  EXPECT_EQ(ErrorOf("a\n\n{% if %}"), "test: line 3: expected an expression, found end of statement block");
  EXPECT_EQ(ErrorOf("{{ 1 + 'a' }}"), "test: line 1: operator +: cannot combine 'int' and 'str'");
  EXPECT_EQ(ErrorOf("\n{% include 'x' %}"),
            "test: line 2: 'include' is not supported: a chat template stands alone");
  EXPECT_EQ(ErrorOf("{% macro f() %}\n{{ 1 / 0 }}{% endmacro %}\n\n{{ f() }}"),
            "test: line 2: division by zero");
  EXPECT_EQ(ErrorOf("x\n\xff"), "test: line 2: expected UTF-8, found other bytes");
}

TEST(ChatTemplate, VariablesMustBeAnObjectOfSoundText) {
  EXPECT_EQ(ErrorOf("x", Json::array()), "test: expected variables as a JSON object, found array");
  EXPECT_NE(ErrorOf("{{ x }}", {{"x", "\xff"}}), "no error");
  EXPECT_NE(ErrorOf("{{ x }}", {{"x", 18446744073709551615ull}}), "no error");
  EXPECT_EQ(Render("{{ y }}", {{"x", "\xff"}, {"y", 1}}).value(), "1");  // never read
  Json deep = Json::array();
  for (int i = 0; i < 500; ++i) deep = Json::array({deep});
  EXPECT_NE(ErrorOf("{{ x }}", {{"x", deep}}), "no error");
}

std::string Repeated(const std::string& part, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += part;
  return out;
}

TEST(ChatTemplate, HugeTemplatesAreRefused) {
  EXPECT_NE(ErrorOf(std::string((1 << 20) + 1, 'x')).find("at most 1048576 bytes"), std::string::npos);
  const std::pair<const char*, const char*> kNests[] = {{"(", ")"},   {"[", "]"},  {"-", ""},  {"not ", ""},
                                                        {"{1:", "}"}, {"a[", "]"}, {"f(", ")"}};
  for (const auto& [open, close] : kNests) {
    const std::string source = "{{ " + Repeated(open, 50000) + "1" + Repeated(close, 50000) + " }}";
    EXPECT_NE(ErrorOf(source).find("nested more than"), std::string::npos) << open;
  }
  EXPECT_NE(ErrorOf("{{ a" + Repeated(".a", 100000) + " }}").find("nested more than"), std::string::npos);
  EXPECT_NE(ErrorOf("{{ a" + Repeated("|e", 100000) + " }}").find("nested more than"), std::string::npos);
  EXPECT_NE(ErrorOf("{{ 1" + Repeated("+1", 100000) + " }}").find("nested more than"), std::string::npos);
  EXPECT_NE(ErrorOf(Repeated("{% if 1 %}", 10000)).find("nested more than"), std::string::npos);
  EXPECT_NE(ErrorOf("{% for " + Repeated("(", 50000) + Repeated(")", 50000) + " %}").find("nested more than"),
            std::string::npos);
}

TEST(ChatTemplate, RunawayTemplatesAreStopped) {
  RenderOptions options = Options();
  options.max_steps = 1'000'000;
  options.max_text_bytes = 64 << 20;
  options.max_output_bytes = 1 << 20;
  const std::string loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
  const std::string doubling = "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(99) %}";
  for (const std::string& source : {
           loops,
           doubling + "{% set n.x = n.x + n.x %}{% endfor %}",
           doubling + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
           doubling + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
           doubling + "{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
           doubling + "{% set n.x = [[[n.x]]] %}{% endfor %}",
           doubling + "{% set n.x = n.x ~ n.x %}{% endfor %}",
           std::string("{{ 'x' * 9223372036854775807 }}"),
           std::string("{{ [1] * 9223372036854775807 }}"),
           std::string("{{ 'x' * 2000000 }}"),
           std::string("{{ ('x' * 100000) | replace('', 'x' * 100000) }}"),
           std::string("{{ '%999999999d' % 1 }}"),
           std::string("{{ '{:999999999}'.format(1) }}"),
           std::string("{{ 'x'.center(999999999) }}"),
           std::string("{{ [[1]] | tojson(indent=999999999) }}"),
           std::string("{{ [1] | slice(999999999) | list }}"),
           std::string("{{ [1] | batch(999999999, 0) | list }}"),
           std::string("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"),
           std::string("{% set n = namespace() %}{% set n.n = n %}{{ n }}"),
           std::string("{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}"),
       }) {
    EXPECT_FALSE(Render(source, Json::object(), options).ok()) << source;
  }
}

TEST(ChatTemplate, StoredLoopsAndMacrosStayUsable) {
  EXPECT_EQ(
      Render("{% set n = namespace() %}{% for i in [1, 2] %}{% set n.l = loop %}{% set n.c = loop.cycle %}"
             "{% macro m() %}{{ i }}{% endmacro %}{% set n.m = m %}{% endfor %}"
             "{{ n.m() }}{{ n.l.index }}{{ n.c('a', 'b') }}")
          .value(),
      "22b");
}

TEST(ChatTemplate, RenderingIsRepeatable) {
  const auto compiled =
      ChatTemplate::Compile("{% set x = x + 1 %}{{ x }}{{ [1, 2] | map('string') | join }}", "test");
  ASSERT_TRUE(compiled.ok()) << compiled.message();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ((*compiled)->Render({{"x", i}}).value(), std::to_string(i + 1) + "12");
}

}  // namespace
}  // namespace deepshock
