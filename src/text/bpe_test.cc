// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

namespace deepshock {
namespace {

TEST(ByteLevelAlphabet, EveryByteThereAndBack) {
  for (int b = 0; b < 256; ++b) {
    EXPECT_EQ(CodePointToByte(ByteToCodePoint(static_cast<uint8_t>(b))), b);
  }
  EXPECT_EQ(ByteToCodePoint(' '), 0x120u);
  std::string bytes = "kept";
  EXPECT_FALSE(AppendFromByteLevel("a b", &bytes));
  EXPECT_EQ(bytes, "kept");
}

TEST(Vocabulary, FindsWhatWasAdded) {
  Vocabulary v;
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(v.Add("token" + std::to_string(i), i * 3));
  EXPECT_FALSE(v.Add("token7", 1));
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(v.Find("token" + std::to_string(i)), i * 3);
  EXPECT_EQ(v.Find("token5000"), -1);
  EXPECT_EQ(v.Text(21), "token7");
  EXPECT_EQ(v.Text(22), "");
  EXPECT_FALSE(v.Contains(-1));
}

// Merging as the definition says: again and again the best-ranked pair, leftmost first.
std::vector<int32_t> MergeByDefinition(std::vector<int32_t> ids, const MergeTable& merges) {
  while (true) {
    size_t best = ids.size();
    MergeTable::Merge merge;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.Find(ids[i], ids[i + 1]);
      if (found.rank >= 0 && (merge.rank < 0 || found.rank < merge.rank)) {
        merge = found;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = merge.id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, ShortAndLongWordsMergeByDefinition) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    Bpe bpe;
    std::vector<std::string> texts = {"a", "b", "c"};
    for (size_t i = 0; i < texts.size(); ++i) bpe.vocabulary().Add(texts[i], static_cast<int32_t>(i));
    int32_t rank = 0;
    for (int i = 0; i < 60; ++i) {
      const std::string left = texts[random() % texts.size()];
      const std::string right = texts[random() % texts.size()];
      if (left.size() + right.size() > 12) continue;
      if (bpe.vocabulary().Find(left + right) < 0) {
        bpe.vocabulary().Add(left + right, static_cast<int32_t>(texts.size()));
        texts.push_back(left + right);
      }
      ASSERT_TRUE(bpe.AddMerge(left, right, rank++).ok());
    }
    bpe.Finish({});
    BpeScratch scratch;
    for (const size_t length : {0u, 1u, 5u, 32u, 33u, 300u}) {
      std::string word;
      std::vector<int32_t> letters;
      for (size_t i = 0; i < length; ++i) {
        letters.push_back(static_cast<int32_t>(random() % 3));
        word += texts[static_cast<size_t>(letters.back())];
      }
      std::vector<int32_t> ids;
      bpe.EncodeWord(word, scratch, &ids);
      EXPECT_EQ(ids, MergeByDefinition(letters, bpe.merges()));
    }
  }
}

TEST(Bpe, MergesMustBeInTheVocabulary) {
  Bpe bpe;
  bpe.vocabulary().Add("a", 0);
  bpe.vocabulary().Add("b", 1);
  const Status status = bpe.AddMerge("a", "b", 4);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("merge 4"), std::string::npos) << status.message();
}

TEST(Bpe, AMegabyteWithoutAPauseTakesNoTime) {
  Bpe bpe;
  std::string text = "a";
  bpe.vocabulary().Add(text, 0);
  for (int32_t i = 1; i < 12; ++i) {
    bpe.vocabulary().Add(text + text, i);
    ASSERT_TRUE(bpe.AddMerge(text, text, i).ok());
    text += text;
  }
  bpe.Finish({});
  BpeScratch scratch;
  std::vector<int32_t> ids;
  const auto start = std::chrono::steady_clock::now();
  bpe.EncodeWord(std::string(1 << 20, 'a'), scratch, &ids);
  EXPECT_EQ(ids, std::vector<int32_t>(512, 11));
  // Quadratic merging would take minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace deepshock
