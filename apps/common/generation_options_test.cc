// SPDX-License-Identifier: Apache-2.0
#include "apps/common/generation_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>

namespace deepshock {
namespace {

// Parses one command line; the message of a usage error, or "".
std::string Parse(const std::string& line, GenerationFlags* flags, std::string* model) {
  CLI::App app("test", "test");
  app.add_option("MODEL", *model);
  AddGenerationOptions(app, flags, "1", "2");
  try {
    app.parse(line);
  } catch (const CLI::ParseError& e) {
    return e.what();
  }
  return "";
}

TEST(GenerationOptions, UnderscoresAndDashes) {
  GenerationFlags flags;
  std::string model;
  ASSERT_EQ(Parse("--max_tokens 5 --top-k 3 --stop a --stop b m.gguf --logit_bias 7=-2.5 --presence_penalty "
                  "-1 --seed 9",
                  &flags, &model),
            "");
  EXPECT_EQ(model, "m.gguf");  // --stop takes one text, not all that follow
  GenerationRequest request;
  request.sampling.temperature = 0.3;
  ASSERT_TRUE(ApplyGenerationFlags(flags, &request).ok());
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.temperature, 0.3);
  EXPECT_EQ(request.sampling.presence_penalty, -1);
  EXPECT_EQ(request.sampling.seed, 9u);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(request.sampling.logit_bias.size(), 1u);
  EXPECT_EQ(request.sampling.logit_bias[0], (std::pair<int32_t, double>(7, -2.5)));
}

TEST(GenerationOptions, OutOfRangeIsAUsageError) {
  for (const char* line :
       {"--top_p 0", "--temperature -1", "--max_tokens 0", "--logit_bias 5", "--logit_bias =5",
        "--logit_bias 5=", "--logit_bias 5=x", "--min_p 2", "--temperature nan", "--top_k x"}) {
    GenerationFlags flags;
    std::string model;
    EXPECT_NE(Parse(line, &flags, &model), "") << line;
  }
}

}  // namespace
}  // namespace deepshock
