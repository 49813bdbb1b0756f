// SPDX-License-Identifier: Apache-2.0
#include "serve/reasoning_constraint.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepshock {
namespace {

// Allows token 2 only, and counts what it is told.
class OnlyTwo final : public TokenConstraint {
 public:
  void Allowed(std::span<uint32_t> mask) override {
    for (uint32_t& word : mask) word = 0;
    mask[0] = 1U << 2;
  }
  bool Accept(int32_t token) override {
    ++accepted;
    return token == 2;
  }
  int accepted = 0;
};

TEST(AfterReasoning, HoldsTheAnswerButNotTheReasoning) {
  const std::vector<std::string> tokens = {"a < b", "</th", "x", "ink>"};
  const auto inner = std::make_shared<OnlyTwo>();
  AfterReasoning constraint([&](int32_t token) { return tokens[static_cast<size_t>(token)]; }, 35, "</think>",
                            inner);
  std::vector<uint32_t> mask(2);
  // "</th" "x" is no closing, "</th" "ink>" is.
  for (const int32_t token : {0, 1, 2, 1, 3}) {
    constraint.Allowed(mask);
    EXPECT_EQ(mask, (std::vector<uint32_t>{0xFFFFFFFF, 7})) << "35 tokens";
    EXPECT_TRUE(constraint.Accept(token));
  }
  EXPECT_EQ(inner->accepted, 0);
  constraint.Allowed(mask);
  EXPECT_EQ(mask, (std::vector<uint32_t>{4, 0}));
  EXPECT_FALSE(constraint.Accept(0));
  EXPECT_TRUE(constraint.Accept(2));
  EXPECT_EQ(inner->accepted, 2);
}

}  // namespace
}  // namespace deepshock
