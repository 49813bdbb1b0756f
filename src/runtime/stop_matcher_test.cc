// SPDX-License-Identifier: Apache-2.0
#include "runtime/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace deepshock {
namespace {

StopMatcher Make(const std::vector<std::string>& stops) {
  Result<StopMatcher> matcher = StopMatcher::Create(stops);
  EXPECT_TRUE(matcher.ok()) << matcher.message();
  return std::move(matcher).value();
}

// What the header promises, by search over the whole text: the earliest end wins, then the earliest
// beginning.
std::string CutByFind(const std::string& text, const std::vector<std::string>& stops, bool* stopped) {
  size_t best_end = std::string::npos, best_begin = text.size();
  for (const std::string& stop : stops) {
    const size_t begin = text.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < best_end || (end == best_end && begin < best_begin)) best_end = end, best_begin = begin;
  }
  *stopped = best_end != std::string::npos;
  return text.substr(0, best_begin);
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher = Make({"</s>"});
  EXPECT_EQ(matcher.Push("ab<"), "ab");
  EXPECT_EQ(matcher.Push("/"), "");
  EXPECT_EQ(matcher.Push("x"), "</x");
  EXPECT_EQ(matcher.Push("y</"), "y");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Push("s> more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.found(), "</s>");
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, FinishReleasesWhatWasHeld) {
  StopMatcher matcher = Make({"END"});
  EXPECT_EQ(matcher.Push("the EN"), "the ");
  EXPECT_EQ(matcher.Finish(), "EN");
}

TEST(StopMatcher, SelfOverlap) {
  StopMatcher matcher = Make({"aab"});
  EXPECT_EQ(matcher.Push("aaaa"), "aa");
  EXPECT_EQ(matcher.Push("b"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, NoStopsPassEverything) {
  StopMatcher matcher = Make({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, RefusesEmptyHugeAndTooMany) {
  EXPECT_FALSE(StopMatcher::Create({"a", ""}).ok());
  EXPECT_FALSE(StopMatcher::Create({std::string(StopMatcher::kMaxStopBytes + 1, 'a')}).ok());
  EXPECT_FALSE(StopMatcher::Create(std::vector<std::string>(StopMatcher::kMaxStops + 1, "a")).ok());
}

TEST(StopMatcher, AgreesWithFindHoweverTheTextIsCut) {
  std::mt19937 random(11);
  const auto word = [&](size_t longest) {
    std::string text(1 + random() % longest, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);  // few letters: many partial matches
    return text;
  };
  int num_stopped = 0;
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = word(6);
    const std::string text = word(60);
    bool expect_stop = false;
    const std::string expected = CutByFind(text, stops, &expect_stop);

    StopMatcher matcher = Make(stops);
    std::string streamed;
    for (size_t begin = 0; begin < text.size();) {
      const size_t n = std::min<size_t>(random() % 6, text.size() - begin);
      streamed += matcher.Push(text.substr(begin, n));
      begin += n;
      // Never more than the answer, whatever comes later.
      ASSERT_EQ(expected.compare(0, streamed.size(), streamed), 0);
    }
    ASSERT_EQ(matcher.stopped(), expect_stop);
    if (!matcher.stopped()) streamed += matcher.Finish();
    ASSERT_EQ(streamed, expected);
    num_stopped += expect_stop ? 1 : 0;
  }
  EXPECT_GT(num_stopped, 1000);
  EXPECT_LT(num_stopped, 4900);
}

}  // namespace
}  // namespace deepshock
