// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

TEST(OutputFile, AppearsWithCommitOnly) {
  const FileTestDir dir;
  Result<OutputFile> file = OutputFile::Create(dir.File("a.txt"));
  ASSERT_TRUE(file.ok()) << file.message();
  ASSERT_TRUE(file->Write("hello ").ok());
  ASSERT_TRUE(file->Flush().ok());
  ASSERT_TRUE(file->Write("world").ok());
  EXPECT_EQ(file->bytes_written(), 11);
  EXPECT_FALSE(std::filesystem::exists(dir.File("a.txt")));
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(dir.Get("a.txt"), "hello world");
  EXPECT_EQ(dir.NumFiles(), 1);
}

TEST(OutputFile, NothingStaysWithoutCommit) {
  const FileTestDir dir;
  dir.Put("a.txt", "old");
  {
    Result<OutputFile> file = OutputFile::Create(dir.File("a.txt"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Write(std::string(3 << 20, 'x')).ok());
    OutputFile moved = std::move(*file);  // the one that was moved from must not remove anything twice
    ASSERT_TRUE(moved.Write("y").ok());
  }
  EXPECT_EQ(dir.Get("a.txt"), "old");
  EXPECT_EQ(dir.NumFiles(), 1);
}

TEST(OutputFile, ReplacesWhole) {
  const FileTestDir dir;
  dir.Put("a.txt", "a much longer old content");
  Result<OutputFile> file = OutputFile::Create(dir.File("a.txt"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(dir.Get("a.txt"), "");
}

TEST(OutputFile, KeepsOrderAcrossItsBuffer) {
  const FileTestDir dir;
  Result<OutputFile> file = OutputFile::Create(dir.File("a"));
  ASSERT_TRUE(file.ok());
  std::string expected;
  for (const size_t size :
       {1ul, 1000ul, (1ul << 20) - 2, 3ul, 1ul << 20, (1ul << 20) + 1, 5ul, 0ul, 700000ul, 700000ul}) {
    const std::string part(size, static_cast<char>('a' + expected.size() % 26));
    ASSERT_TRUE(file->Write(part).ok());
    expected += part;
  }
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(dir.Get("a"), expected);
}

TEST(OutputFile, NameThatCannotBeCreated) {
  const FileTestDir dir;
  const Result<OutputFile> file = OutputFile::Create(dir.File("none/a.txt"));
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.message().find(dir.File("none/a.txt")), std::string::npos);
  EXPECT_NE(file.message().find("No such file"), std::string::npos);
}

TEST(OutputFile, DirectoryThatMayNotBeWritten) {
  const FileTestDir dir;
  if (::geteuid() == 0) GTEST_SKIP() << "root may write to any directory";
  ASSERT_EQ(::chmod(dir.path().c_str(), 0500), 0);
  EXPECT_FALSE(OutputFile::Create(dir.File("a.txt")).ok());
  ::chmod(dir.path().c_str(), 0700);
}

TEST(OutputFile, NameThatIsADirectory) {
  const FileTestDir dir;
  std::filesystem::create_directory(dir.File("a"));
  Result<OutputFile> file = OutputFile::Create(dir.File("a"));
  ASSERT_TRUE(file.ok());
  const Status status = file->Commit();
  EXPECT_NE(status.message().find("cannot rename"), std::string::npos) << status.message();
  EXPECT_EQ(dir.NumFiles(), 1);
}

// Two writers of one name in one process: each is whole, the last to commit wins.
TEST(OutputFile, TwoAtATime) {
  const FileTestDir dir;
  Result<OutputFile> one = OutputFile::Create(dir.File("a")), two = OutputFile::Create(dir.File("a"));
  ASSERT_TRUE(one.ok() && two.ok());
  ASSERT_TRUE(one->Write("one").ok());
  ASSERT_TRUE(two->Write("the second").ok());
  ASSERT_TRUE(one->Commit().ok());
  EXPECT_EQ(dir.Get("a"), "one");
  ASSERT_TRUE(two->Commit().ok());
  EXPECT_EQ(dir.Get("a"), "the second");
  EXPECT_EQ(dir.NumFiles(), 1);
}

// A symbolic link where the temporary file would be must not lead the bytes elsewhere.
TEST(OutputFile, LinkIsReplacedNotFollowed) {
  const FileTestDir dir;
  dir.Put("target", "untouched");
  std::filesystem::create_symlink(dir.File("target"), dir.File("a"));
  Result<OutputFile> file = OutputFile::Create(dir.File("a"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Write("new").ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(dir.Get("target"), "untouched");
  EXPECT_EQ(dir.Get("a"), "new");
}

// A file size limit stands in for the full disk.
TEST(OutputFile, NoRoom) {
  const FileTestDir dir;
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 100000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  std::string late_error, early_error;
  {
    Result<OutputFile> buffered = OutputFile::Create(dir.File("buffered")),
                       direct = OutputFile::Create(dir.File("direct"));
    if (buffered.ok() && direct.ok()) {
      (void)buffered->Write(std::string(200000, 'x'));  // still in the buffer
      late_error = buffered->Commit().message();
      early_error = direct->Write(std::string(2 << 20, 'x')).message();
    }
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_NE(late_error.find("cannot write"), std::string::npos) << late_error;
  EXPECT_NE(late_error.find(dir.File("buffered")), std::string::npos);
  EXPECT_NE(early_error.find("cannot write"), std::string::npos) << early_error;
  EXPECT_EQ(dir.NumFiles(), 0);
}

TEST(OutputFileDeathTest, WritingAfterCommitIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const FileTestDir dir;
  Result<OutputFile> file = OutputFile::Create(dir.File("a"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_DEATH((void)file->Write("x"), "write after Commit");
}

}  // namespace
}  // namespace deepshock
