// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepshock {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

// UTF-8 once more, straight from its definition: decode the bits, then refuse what is not shortest, surrogate
// or too large. Tells how many bytes of a valid character, 0 for none.
int ValidLength(const std::vector<uint8_t>& b) {
  const size_t n = b.size();
  if (n == 1) return b[0] < 0x80 ? 1 : 0;
  static constexpr uint8_t kLeadMask[5] = {0, 0, 0xE0, 0xF0, 0xF8}, kLead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  static constexpr uint32_t kSmallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (n > 4 || (b[0] & kLeadMask[n]) != kLead[n]) return 0;
  uint32_t c = b[0] & static_cast<uint8_t>(~kLeadMask[n]);
  for (size_t i = 1; i < n; ++i) {
    if ((b[i] & 0xC0) != 0x80) return 0;
    c = c << 6 | (b[i] & 0x3F);
  }
  if (c < kSmallest[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
  return static_cast<int>(n);
}

// Every proper prefix of every valid character of several bytes, by its length and its bytes read as a
// number.
class Prefixes {
 public:
  Prefixes() {
    for (uint32_t c = 0x80; c <= 0x10FFFF; ++c) {
      if (c >= 0xD800 && c <= 0xDFFF) continue;
      const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
      uint32_t bytes = (0xF00u >> n & 0xFF) | c >> (6 * (n - 1));
      for (size_t length = 1; length < n; ++length) {
        seen_[length][bytes] = true;
        bytes = bytes << 8 | 0x80 | (c >> (6 * (n - 1 - length)) & 0x3F);
      }
    }
  }
  bool Has(const std::vector<uint8_t>& b) const {
    uint32_t bytes = 0;
    for (const uint8_t byte : b) bytes = bytes << 8 | byte;
    return b.size() < 4 && seen_[b.size()][bytes];
  }

 private:
  std::vector<bool> seen_[4] = {
      {}, std::vector<bool>(1 << 8), std::vector<bool>(1 << 16), std::vector<bool>(1 << 24)};
};

bool IsPrefixOfValid(const std::vector<uint8_t>& b) {
  static const Prefixes prefixes;
  return prefixes.Has(b);
}

// The Unicode standard, section 3.9, "maximal subpart": the longest prefix that starts a valid character, at
// least 1.
int ExpectedLength(const std::vector<uint8_t>& text, bool* valid) {
  *valid = false;
  int longest = 1;
  for (size_t n = 1; n <= text.size(); ++n) {
    const std::vector<uint8_t> prefix(text.begin(), text.begin() + static_cast<int64_t>(n));
    if (ValidLength(prefix) != 0) {
      *valid = true;
      return static_cast<int>(n);
    }
    if (!IsPrefixOfValid(prefix)) break;
    longest = static_cast<int>(n);
  }
  return longest;
}

// Every lead byte followed by every mix of the byte classes that matter, at their edges.
TEST(Utf8, EveryLeadWithEveryContinuationClass) {
  const std::vector<int> classes = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                    0xBF, 0xC0, 0xC2, 0xE1, 0xF4, 0xFF};
  const auto check = [](const std::vector<uint8_t>& bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const Utf8Char c = DecodeUtf8(text);
    bool valid;
    const int length = ExpectedLength(bytes, &valid);
    ASSERT_EQ(c.length, length) << std::hex << testing::PrintToString(bytes);
    ASSERT_EQ(c.valid, valid) << testing::PrintToString(bytes);
    if (valid) {
      std::string again;
      AppendUtf8(c.code_point, &again);
      ASSERT_EQ(again, text.substr(0, static_cast<size_t>(length)));
    } else {
      ASSERT_EQ(c.code_point, 0xFFFDu);
    }
  };
  for (int lead = 0; lead < 256; ++lead) {
    const auto first = static_cast<uint8_t>(lead);
    check({first});
    for (const int b : classes) {
      check({first, static_cast<uint8_t>(b)});
      for (const int c : classes) {
        check({first, static_cast<uint8_t>(b), static_cast<uint8_t>(c)});
        for (const int d : classes) {
          check({first, static_cast<uint8_t>(b), static_cast<uint8_t>(c), static_cast<uint8_t>(d)});
        }
      }
    }
  }
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Char decoded = DecodeUtf8(text);
    ASSERT_TRUE(decoded.valid) << c;
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(static_cast<size_t>(decoded.length), text.size());
    // Every proper prefix may still become a character; the whole is one.
    for (size_t n = 1; n < text.size(); ++n) ASSERT_EQ(CompleteUtf8Prefix(text.substr(0, n)), 0u) << c;
    ASSERT_EQ(CompleteUtf8Prefix(text), text.size());
  }
}

TEST(Utf8, ReplacesMaximalSubparts) {
  const auto replaced = [](std::string_view text) {
    std::string shown;
    const std::string out = ReplaceInvalidUtf8(text);
    for (size_t i = 0; i < out.size(); ++i) {
      if (out.compare(i, 3, kReplacement) == 0) {
        shown += '?';
        i += 2;
      } else {
        shown += out[i];
      }
    }
    return shown;
  };
  // The examples of the Unicode standard, tables 3-8 to 3-11.
  EXPECT_EQ(replaced("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), "????????A");
  EXPECT_EQ(replaced("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), "????????A");
  EXPECT_EQ(replaced("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), "?????A??B");
  EXPECT_EQ(replaced("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "????A");
  EXPECT_EQ(replaced(""), "");
  EXPECT_EQ(replaced("plain"), "plain");
}

TEST(Utf8, FindInvalid) {
  EXPECT_EQ(FindInvalidUtf8(""), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("a\xC3\xA9z"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("a\xC3\xA9\xFF"), 3u);
  EXPECT_EQ(FindInvalidUtf8("ab\xE2\x82"), 2u);
}

TEST(Utf8, CompletePrefix) {
  EXPECT_EQ(CompleteUtf8Prefix(""), 0u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xE2\x82"), 1u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xE2\x82\xAC"), 4u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xF0\x9F\x98"), 1u);
  // What no further byte can mend is not waited for.
  EXPECT_EQ(CompleteUtf8Prefix("a\x80\x80\x80"), 4u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xE0\x80"), 3u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xF5"), 2u);
  EXPECT_EQ(CompleteUtf8Prefix("\xC3\xA9\xC3"), 2u);
}

}  // namespace
}  // namespace deepshock
