// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

TEST(MappedFile, SeesTheBytes) {
  const FileTestDir dir;
  const std::string content = std::string("a\0b", 3) + std::string(10000, 'z');
  dir.Put("f", content);
  const auto file = MappedFile::Open(dir.File("f"));
  ASSERT_TRUE(file.ok()) << file.message();
  const auto bytes = (*file)->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), content);
  EXPECT_EQ((*file)->path(), dir.File("f"));
}

TEST(MappedFile, OutlivesItsName) {
  const FileTestDir dir;
  dir.Put("f", "content");
  const auto file = MappedFile::Open(dir.File("f"));
  ASSERT_TRUE(file.ok());
  std::filesystem::remove(dir.File("f"));
  EXPECT_EQ(static_cast<char>((*file)->bytes()[6]), 't');
}

TEST(MappedFile, Empty) {
  const FileTestDir dir;
  dir.Put("f", "");
  const auto file = MappedFile::Open(dir.File("f"));
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_TRUE((*file)->bytes().empty());
  EXPECT_EQ(*ReadFile(dir.File("f"), 0), "");
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const FileTestDir dir;
  ASSERT_EQ(::mkfifo(dir.File("fifo").c_str(), 0600), 0);
  // A FIFO without a writer must not hang.
  for (const std::string& path :
       {dir.path(), std::string("/dev/null"), dir.File("none"), dir.File("fifo"), std::string()}) {
    const auto mapped = MappedFile::Open(path);
    ASSERT_FALSE(mapped.ok()) << path;
    EXPECT_EQ(mapped.message().find(path), 0u) << mapped.message();
    const auto read = ReadFile(path, 100);
    ASSERT_FALSE(read.ok()) << path;
    EXPECT_EQ(read.message().find(path), 0u) << read.message();
  }
}

TEST(ReadFile, UpToTheLimit) {
  const FileTestDir dir;
  dir.Put("f", "12345");
  EXPECT_EQ(*ReadFile(dir.File("f"), 5), "12345");
  const auto too_long = ReadFile(dir.File("f"), 4);
  ASSERT_FALSE(too_long.ok());
  EXPECT_NE(too_long.message().find("at most 4 bytes, found 5"), std::string::npos) << too_long.message();
}

}  // namespace
}  // namespace deepshock
