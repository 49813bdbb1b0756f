// SPDX-License-Identifier: Apache-2.0
#include "base/file_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "base/file_test_dir.h"
#include "base/huge_memory.h"

namespace deepshock {
namespace {

// Each way to read: io_uring and threads, around and through the page cache.
struct Way {
  bool uring, direct;
};

class FileReaderTest : public testing::TestWithParam<Way> {
 protected:
  FileReaderTest() {
    for (size_t i = 0; i < kBytes; ++i) content_ += static_cast<char>(i * 2654435761u >> 13);
    dir_.Put("file", content_);
    memory_ = *HugeMemory::Allocate(1 << 20);
  }
  std::unique_ptr<FileReader> Open(int64_t request_bytes = 8192, int num_requests = 4) {
    auto reader = FileReader::Open({{dir_.File("file"), static_cast<int64_t>(kBytes)}},
                                   {request_bytes, num_requests, GetParam().uring, GetParam().direct});
    EXPECT_TRUE(reader.ok()) << reader.message();
    return std::move(*reader);
  }
  bool Same(int64_t offset, int64_t bytes, int64_t at) const {
    return std::memcmp(content_.data() + offset, memory_->data() + at, static_cast<size_t>(bytes)) == 0;
  }

  static constexpr size_t kBytes = 300001;  // not a whole number of blocks
  FileTestDir dir_;
  std::string content_;
  std::shared_ptr<HugeMemory> memory_;
};

TEST_P(FileReaderTest, ManyReadsAtOnceAllArrive) {
  for (const int num_requests : {1, 4, 16}) {
    const auto reader = Open(8192, num_requests);
    std::memset(memory_->data(), 0, memory_->size());
    struct Piece {
      int64_t offset, bytes, at;
    };
    std::vector<Piece> pieces;
    int64_t at = 0;
    for (int64_t i = 0; i < 20; ++i) {
      const int64_t offset = (i * 7 % 20) * 12288;
      const int64_t bytes = i == 3 ? static_cast<int64_t>(kBytes) - offset : 1 + i * 1777;
      pieces.push_back({offset, bytes, at});
      at += (bytes + 4095) / 4096 * 4096;
    }
    ASSERT_LE(at, static_cast<int64_t>(memory_->size()));
    for (size_t i = 0; i < pieces.size(); ++i) {
      reader->Start({i, 0, pieces[i].offset, pieces[i].bytes, memory_->data() + pieces[i].at, i % 3 != 0});
      reader->Hurry(i / 2);
    }
    std::map<uint64_t, int> seen;
    for (size_t i = 0; i < pieces.size(); ++i) {
      FileReadResult result = reader->Wait();
      EXPECT_TRUE(result.status.ok()) << result.status.message();
      ++seen[result.tag];
    }
    EXPECT_EQ(seen.size(), pieces.size());
    EXPECT_FALSE(reader->Poll().has_value());
    for (const Piece& piece : pieces) EXPECT_TRUE(Same(piece.offset, piece.bytes, piece.at)) << piece.offset;
  }
}

TEST_P(FileReaderTest, AFileThatShrinksFailsThatReadOnly) {
  const auto reader = Open();
  ASSERT_EQ(::truncate(dir_.File("file").c_str(), 100000), 0);
  reader->Start({1, 0, 0, 90000, memory_->data()});
  reader->Start({2, 0, 90112, 50000, memory_->data() + 98304});    // ends beyond
  reader->Start({3, 0, 200704, 50000, memory_->data() + 200704});  // begins beyond
  std::map<uint64_t, Status> results;
  for (int i = 0; i < 3; ++i) {
    FileReadResult result = reader->Wait();
    results[result.tag] = result.status;
  }
  EXPECT_TRUE(results[1].ok()) << results[1].message();
  EXPECT_TRUE(Same(0, 90000, 0));
  for (const uint64_t tag : {2, 3}) {
    EXPECT_NE(results[tag].message().find("the file has become shorter"), std::string::npos)
        << results[tag].message();
    EXPECT_NE(results[tag].message().find(dir_.File("file")), std::string::npos);
  }
  dir_.Put("file", content_);  // the same file again
  reader->Start({2, 0, 90112, 50000, memory_->data() + 98304});
  EXPECT_TRUE(reader->Wait().status.ok());
  EXPECT_TRUE(Same(90112, 50000, 98304));
}

TEST_P(FileReaderTest, ClosesWhileReadsAreUnderWay) {
  for (int round = 0; round < 20; ++round) {
    const auto reader = Open(4096, 2);
    for (uint64_t i = 0; i < 5; ++i) reader->Start({i, 0, 0, 30000, memory_->data() + i * 32768});
  }
}

TEST_P(FileReaderTest, SaysHowItReads) {
  const std::string how = Open()->description();
  if (!GetParam().uring) {
    EXPECT_NE(how.find("4 threads with pread"), std::string::npos) << how;
  } else {
    // Containers refuse io_uring; then the reason stands there.
    EXPECT_TRUE(how.starts_with("io_uring, ") || how.find("io_uring is refused: ") != std::string::npos)
        << how;
  }
  if (!GetParam().direct) {
    EXPECT_NE(how.find("through the page cache"), std::string::npos) << how;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, FileReaderTest,
                         testing::Values(Way{true, true}, Way{true, false}, Way{false, true},
                                         Way{false, false}),
                         [](const auto& way) {
                           return std::string(way.param.uring ? "Uring" : "Threads") +
                                  (way.param.direct ? "Direct" : "Cached");
                         });

TEST(FileReaderOpen, RefusesWhatIsNoFileOrTooShort) {
  FileTestDir dir;
  dir.Put("short", "x");
  EXPECT_NE(FileReader::Open({{dir.File("none"), 0}}).message().find("cannot open"), std::string::npos);
  EXPECT_NE(FileReader::Open({{dir.path(), 0}}).message().find("expected a regular file"), std::string::npos);
  EXPECT_NE(FileReader::Open({{dir.File("short"), 2}}).message().find("expected at least 2 bytes, found 1"),
            std::string::npos);
}

}  // namespace
}  // namespace deepshock
