// SPDX-License-Identifier: Apache-2.0
#include "data/json_lines.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

namespace deepshock {
namespace {

struct Seen {
  int64_t number;
  std::string text;
  std::string error;
  bool operator==(const Seen&) const = default;
};

// Through a pipe, so that lines arrive in pieces.
std::vector<Seen> ReadAll(const std::string& input, size_t max_bytes = LineReader::kDefaultMaxBytes) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  std::thread writer([&] {
    for (size_t done = 0; done < input.size();) {
      const ssize_t n = ::write(fds[1], input.data() + done, std::min<size_t>(input.size() - done, 7919));
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    ::close(fds[1]);
  });
  LineReader reader(fds[0], "pipe", max_bytes);
  std::vector<Seen> seen;
  while (std::optional<InputLine> line = reader.Next()) {
    seen.push_back({line->number, line->text, line->status.message()});
  }
  EXPECT_TRUE(reader.status().ok());
  writer.join();
  ::close(fds[0]);
  return seen;
}

TEST(LineReader, NumbersLinesAndSkipsBlankOnes) {
  EXPECT_EQ(ReadAll("a\n\n  \t\r\nb\r\nlast"),
            (std::vector<Seen>{{1, "a", ""}, {4, "b\r", ""}, {5, "last", ""}}));
  EXPECT_EQ(ReadAll(""), (std::vector<Seen>{}));
  EXPECT_EQ(ReadAll("\n\n"), (std::vector<Seen>{}));
  EXPECT_EQ(ReadAll("\xEF\xBB\xBFx\ny"), (std::vector<Seen>{{1, "x", ""}, {2, "y", ""}}));
}

TEST(LineReader, ALineThatIsTooLongIsAnErrorAndTheNextIsRead) {
  const std::string input = "ok\n" + std::string(300000, 'x') + "\nalso ok\n" + std::string(101, 'y');
  EXPECT_EQ(ReadAll(input, 100),
            (std::vector<Seen>{{1, "ok", ""},
                               {2, "", "expected a line of at most 100 bytes, found 300000"},
                               {3, "also ok", ""},
                               {4, "", "expected a line of at most 100 bytes, found 101"}}));
  EXPECT_EQ(ReadAll(std::string(100, 'z') + "\n", 100)[0].error, "");
}

TEST(LineReader, InvalidUtf8IsAnErrorWithItsPlace) {
  const std::vector<Seen> seen = ReadAll("{}\nab\xff\n\xe2\x82\n{}\n");
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].error, "expected UTF-8, found byte 0xff at column 3");
  EXPECT_EQ(seen[2].error, "expected UTF-8, found byte 0xe2 at column 1");
  EXPECT_EQ(seen[3].text, "{}");
}

TEST(LineReader, LongInputsComeBackWhole) {
  std::mt19937 random(5);
  std::string input;
  std::vector<Seen> expected;
  for (int i = 1; i <= 300; ++i) {
    std::string line(random() % 2000 + 1, static_cast<char>('a' + i % 26));
    if (i % 50 == 0) line.resize(200000, 'q');
    input += line + "\n";
    expected.push_back({i, line, ""});
  }
  EXPECT_EQ(ReadAll(input), expected);
}

TEST(LineReader, AReadErrorIsTold) {
  const int fd = ::open("/", O_RDONLY | O_DIRECTORY);
  LineReader reader(fd, "input.jsonl");
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.status().message(), "input.jsonl: cannot read: Is a directory");
  ::close(fd);
}

}  // namespace
}  // namespace deepshock
