// SPDX-License-Identifier: Apache-2.0
#include "runtime/text_sequences.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

const std::string kModel = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";

TEST(TextSource, AFieldStandsBehindTheLastColon) {
  const FileTestDir dir;
  EXPECT_EQ(ParseTextSource("a.jsonl").field, "");
  EXPECT_EQ(ParseTextSource("a.jsonl:body").path, "a.jsonl");
  EXPECT_EQ(ParseTextSource("a.jsonl:body").field, "body");
  dir.Put("a:b.jsonl", "");
  EXPECT_EQ(ParseTextSource(dir.File("a:b.jsonl")).path, dir.File("a:b.jsonl"));
  EXPECT_EQ(ParseTextSource(dir.File("a:b.jsonl:text")).field, "text");
}

TEST(TextSequences, ExactlyTheTokensOfAFile) {
  const FileTestDir dir;
  std::vector<int32_t> tokens(10);
  std::iota(tokens.begin(), tokens.end(), 100);
  dir.Put("ids.i32", std::string(reinterpret_cast<const char*>(tokens.data()), tokens.size() * 4));
  const auto sequences = ReadSequences({dir.File("ids.i32"), ""}, nullptr, 4, 0);
  ASSERT_TRUE(sequences.ok()) << sequences.message();
  ASSERT_EQ(sequences->size(), 3u);
  EXPECT_EQ((*sequences)[1].tokens, (std::vector<int32_t>{104, 105, 106, 107}));
  EXPECT_EQ((*sequences)[2].tokens, (std::vector<int32_t>{108, 109}));  // no padding
  EXPECT_EQ(NumTokens(*sequences), 10);
  EXPECT_EQ(NumTokens(*ReadSequences({dir.File("ids.i32"), ""}, nullptr, 4, 6)), 6);

  dir.Put("odd.i32", "12345");
  EXPECT_NE(
      ReadSequences({dir.File("odd.i32"), ""}, nullptr, 4, 0).message().find("expected 4 bytes a token"),
      std::string::npos);
  dir.Put("empty.i32", "");
  EXPECT_NE(ReadSequences({dir.File("empty.i32"), ""}, nullptr, 4, 0).message().find("expected some text"),
            std::string::npos);
  EXPECT_NE(ReadSequences({dir.File("ids.i32"), "text"}, nullptr, 4, 0).message().find("expected no field"),
            std::string::npos);
}

TEST(TextSequences, RecordsGoThroughTokenizerAndTemplate) {
  const auto text = LoadModelText(kModel);
  ASSERT_TRUE(text.ok()) << text.message();
  const FileTestDir dir;
  dir.Put("a.jsonl",
          "{\"text\": \"The kernel allocates memory for each process.\"}\n{\"text\": \"\"}\n\n"
          "{\"messages\": [{\"role\": \"user\", \"content\": \"What is a compiler?\"}]}\n");
  const auto sequences = ReadSequences({dir.File("a.jsonl"), ""}, &*text, 512, 0);
  ASSERT_TRUE(sequences.ok()) << sequences.message();
  ASSERT_EQ(sequences->size(), 2u);
  EXPECT_EQ((*sequences)[0].tokens, text->EncodePrompt("The kernel allocates memory for each process."));
  const auto messages =
      nlohmann::ordered_json::array({{{"role", "user"}, {"content", "What is a compiler?"}}});
  EXPECT_EQ((*sequences)[1].tokens, *text->EncodeChat(messages, nlohmann::ordered_json()));
  EXPECT_EQ((*sequences)[1].record, 1);  // the empty one does not count

  const auto pieces = ReadSequences({dir.File("a.jsonl"), ""}, &*text, 3, 0);
  EXPECT_EQ(NumTokens(*pieces), NumTokens(*sequences));
  EXPECT_EQ((*pieces)[0].tokens.size(), 3u);
  EXPECT_EQ(pieces->back().record, 1);

  dir.Put("bad.jsonl", "{\"text\": \"x\"}\n{\"other\": \"x\"}\n");
  EXPECT_NE(ReadSequences({dir.File("bad.jsonl"), ""}, &*text, 3, 0)
                .message()
                .find("bad.jsonl: line 2: expected a fi"),
            std::string::npos);
  EXPECT_NE(ReadSequences({dir.File("none.jsonl"), ""}, &*text, 3, 0).message().find("cannot open"),
            std::string::npos);
}

}  // namespace
}  // namespace deepshock
