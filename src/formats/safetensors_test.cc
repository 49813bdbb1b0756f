// SPDX-License-Identifier: Apache-2.0
#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "formats/safetensors_parse.h"
#include "formats/test_files.h"

namespace deepshock {
namespace {

// Header length, header, `data_bytes` bytes counting up.
std::string Raw(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
  out += header;
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}

// What Open says of these bytes, without the path.
std::string Error(const TempFolder& folder, std::string_view bytes) {
  const std::string path = folder.Write("x.safetensors", bytes);
  const auto file = SafetensorsFile::Open(path);
  if (file.ok()) {
    Touch((*file)->tensors());
    return "";
  }
  EXPECT_EQ(file.message().rfind(path + ": ", 0), 0u) << file.message();
  EXPECT_EQ(file.message().find('\n'), std::string::npos) << file.message();
  return file.message().substr(path.size() + 2);
}

std::vector<TensorToWrite> TestTensors(const std::vector<std::byte>& data) {
  const auto bytes = [&](size_t size) { return std::span(data).first(size); };
  return {{"u8", DType::kU8, {3}, bytes(3)},
          {"f64", DType::kF64, {1, 2}, bytes(16)},
          {"fp8", DType::kF8E4M3, {2, 2}, bytes(4)},
          {"bool", DType::kBool, {1}, bytes(1)},
          {"bf16", DType::kBF16, {5}, bytes(10)},
          {"f16", DType::kF16, {}, bytes(2)},
          {"f32", DType::kF32, {2, 1}, bytes(8)},
          {"i64", DType::kI64, {1}, bytes(8)},
          {"i32", DType::kI32, {0, 7}, bytes(0)},
          {"i16", DType::kI16, {3}, bytes(6)},
          {"i8", DType::kI8, {1, 1, 1, 1, 1}, bytes(1)}};
}

std::vector<std::byte> CountingBytes(size_t size) {
  std::vector<std::byte> out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i + 1);
  return out;
}

TEST(Safetensors, WritesWhatItReads) {
  const TempFolder folder;
  const auto data = CountingBytes(64);
  const auto tensors = TestTensors(data);
  const std::string path = folder.Path("x.safetensors");
  const Status status = WriteSafetensors(path, tensors, {{"format", "pt"}, {"\"", "\n"}});
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(folder.NumFiles(), 1);
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_EQ((*file)->metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"\"", "\n"}}));
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const TensorToWrite& want : tensors) {
    const StoredTensor* got = (*file)->Find(want.name);
    ASSERT_NE(got, nullptr) << want.name;
    EXPECT_EQ(got->dtype, want.dtype);
    EXPECT_EQ(got->dims, want.dims);
    ASSERT_EQ(got->bytes, static_cast<int64_t>(want.data.size()));
    EXPECT_EQ(std::memcmp(got->data, want.data.data(), want.data.size()), 0) << want.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got->data) % Info(want.dtype).block_bytes, 0u) << want.name;
  }
  EXPECT_EQ((*file)->Find("u"), nullptr);
  EXPECT_EQ((*file)->Find(""), nullptr);
}

TEST(Safetensors, WriterRefusals) {
  const TempFolder folder;
  const std::string path = folder.Path("x.safetensors");
  const auto data = CountingBytes(8);
  const auto error = [&](std::vector<TensorToWrite> tensors) {
    return WriteSafetensors(path, tensors, {}).message().substr(path.size() + 2);
  };
  const std::span<const std::byte> four = std::span(data).first(4);
  EXPECT_EQ(error({{"a", DType::kF32, {2}, four}}), "tensor \"a\": expected 8 bytes, found 4");
  EXPECT_EQ(error({{"a", DType::kF32, {1}, four}, {"a", DType::kF32, {1}, four}}),
            "tensor \"a\": expected a name that is not taken, found it twice");
  EXPECT_EQ(error({{"__metadata__", DType::kF32, {1}, four}}),
            "tensor \"__metadata__\": expected a name that is not taken, found it twice");
  EXPECT_EQ(error({{"a", DType::kQ4_K, {0}, {}}}),
            "tensor \"a\": expected a type that safetensors has, found q4_k");
  EXPECT_EQ(error({{"\xFF", DType::kF32, {1}, four}}),
            "tensor \"\\xff\": expected UTF-8, found an invalid byte at 0");
  EXPECT_EQ(folder.NumFiles(), 0);
}

TEST(Safetensors, RefusesWrongHeaders) {
  const TempFolder folder;
  EXPECT_EQ(Error(folder, ""), "expected a safetensors file of at least 8 bytes, found 0");
  EXPECT_EQ(Error(folder, std::string(8, '\xFF')),
            "expected a safetensors header of at most 0 bytes, found a length of 18446744073709551615");
  EXPECT_EQ(Error(folder, Raw("{}", 0).substr(0, 9)),
            "expected a safetensors header of at most 1 bytes, found a length of 2");
  EXPECT_EQ(Error(folder, Raw("", 0)), "expected a header that begins with \"{\", found none");
  EXPECT_EQ(Error(folder, Raw("[]", 0)), "expected a header that begins with \"{\", found none");
  EXPECT_EQ(Error(folder, Raw("{}", 0)), "");
  EXPECT_EQ(Error(folder, Raw("{}    ", 0)), "");
  EXPECT_EQ(Error(folder, Raw("{}", 3)),
            "expected tensors to fill all 3 bytes of data, found 3 bytes unused");
  EXPECT_NE(Error(folder, Raw("{\"a\":", 0)).find("header: parse error"), std::string::npos);
  EXPECT_NE(Error(folder, Raw("{\"\xFF\":1}", 0)).find("header: "), std::string::npos);
  EXPECT_NE(Error(folder, Raw("{\"a\":" + std::string(100000, '['), 0)).find("levels"), std::string::npos);
  EXPECT_EQ(Error(folder, Raw(R"({"__metadata__":{"a":1}})", 0)),
            "__metadata__ key \"a\": expected a string, found number");
  EXPECT_EQ(Error(folder, Raw(R"({"__metadata__":"a"})", 0)),
            "__metadata__: expected an object, found string");
  const std::string u8 = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_EQ(Error(folder, Raw("{\"a\":" + u8 + ",\"a\":" + u8 + "}", 1)),
            "header: key \"a\" occurs twice in one JSON object");
}

TEST(Safetensors, RefusesWrongTensors) {
  const TempFolder folder;
  const auto one = [&](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return Error(folder, Raw(fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype,
                                         shape, offsets),
                             16));
  };
  EXPECT_EQ(one("\"F32\"", "[2,2]", "[0,16]"), "");
  EXPECT_EQ(one("\"F8_E5M2\"", "[16]", "[0,16]"),
            "tensor \"t\": expected a supported dtype, found \"F8_E5M2\"");
  EXPECT_EQ(one("\"U32\"", "[4]", "[0,16]"), "tensor \"t\": expected a supported dtype, found \"U32\"");
  EXPECT_EQ(one("7", "[4]", "[0,16]"), "tensor \"t\": expected a string \"dtype\", found none");
  EXPECT_EQ(one("\"F32\"", "4", "[0,16]"), "tensor \"t\": expected an array \"shape\", found none");
  EXPECT_EQ(one("\"F32\"", "[4]", "[0,16,16]"),
            "tensor \"t\": expected data_offsets [begin, end], found [0, 16, 16]");
  EXPECT_EQ(one("\"F32\"", "[4]", "[16,0]"),
            "tensor \"t\": expected data_offsets [begin, end], found [16, 0]");
  for (const char* number : {"-1", "1.0", "\"4\"", "9223372036854775808", "1e30", "null", "[4]"}) {
    EXPECT_EQ(one("\"F32\"", fmt::format("[{}]", number), "[0,16]"),
              "tensor \"t\": \"shape\": expected integers from 0 to 2^63 - 1, found another value");
  }
  EXPECT_EQ(one("\"F32\"", "[5]", "[0,20]"),
            "tensor \"t\": expected data_offsets within the file's 16 bytes of data, found [0, 20]");
  EXPECT_EQ(one("\"F32\"", "[3]", "[0,16]"),
            "tensor \"t\": expected 12 bytes for f32 [3], found data_offsets of 16");
  EXPECT_EQ(one("\"F32\"", "[4294967296,4294967296]", "[0,16]"),
            "tensor \"t\": expected fewer than 2^63 elements, found more");
  EXPECT_EQ(one("\"F64\"", "[4611686018427387904]", "[0,16]"),
            "tensor \"t\": expected fewer than 2^63 bytes, found more");
  EXPECT_EQ(one("\"F64\"", "[0,4611686018427387904,4611686018427387904]", "[0,16]"),
            "tensor \"t\": expected 0 bytes for f64 [0, 4611686018427387904, 4611686018427387904], found "
            "data_offsets of 16");
  EXPECT_EQ(one("\"U8\"", "[15]", "[1,16]"),
            "expected tensors to fill all 16 bytes of data, found 1 bytes unused");

  const auto two = [&](std::string_view a, std::string_view b) {
    return Error(folder, Raw(fmt::format(R"({{"a":{{"dtype":"U8","shape":[8],"data_offsets":{}}},)"
                                         R"("b":{{"dtype":"U8","shape":[8],"data_offsets":{}}}}})",
                                         a, b),
                             16));
  };
  EXPECT_EQ(two("[8,16]", "[0,8]"), "");
  EXPECT_EQ(two("[0,8]", "[4,12]"),
            "tensor \"b\": expected bytes of its own, found 4 shared with tensor \"a\"");
  EXPECT_EQ(Error(folder, Raw(R"({"a\nb":1})", 0)), "tensor \"a\\x0ab\": expected an object, found number");
  EXPECT_EQ(Error(folder, Raw(R"({"":1})", 0)), "tensor \"\": expected a name of 1 to 65535 bytes, found 0");
}

// Cut short at every length and with every bit turned over: always a Result, never a crash or a byte outside.
TEST(Safetensors, SurvivesCorruption) {
  const TempFolder folder;
  const auto data = CountingBytes(64);
  ASSERT_TRUE(WriteSafetensors(folder.Path("good"), TestTensors(data), {{"format", "pt"}}).ok());
  const std::string good = folder.Read("good");
  const auto parse = [](const std::string& bytes) {
    return ParseSafetensors(std::as_bytes(std::span(bytes)));
  };
  EXPECT_TRUE(parse(good).ok());
  for (size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse(good.substr(0, size)).ok()) << size;
  int refused = 0;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const auto parsed = parse(bad);
    refused += !parsed.ok();
    if (parsed.ok()) Touch(parsed->tensors);
  }
  EXPECT_GT(refused, 1000);
}

// ---- Folders ----

std::string Shard(std::string_view tensor) {
  return Raw(fmt::format(R"({{"{}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}})", tensor), 2);
}

TEST(Safetensors, OpensFolders) {
  const TempFolder folder;
  const std::string root = folder.Path("");
  EXPECT_EQ(SafetensorsFile::OpenFolder(root).message(),
            root + ": expected model.safetensors or model.safetensors.index.json, found neither");
  folder.Write("s1.safetensors", Shard("b"));
  folder.Write("s2.safetensors", Shard("a"));
  folder.Write("model.safetensors.index.json",
               R"({"metadata":{"total_size":4},"weight_map":{"a":"s2.safetensors","b":"s1.safetensors"}})");
  const auto sharded = SafetensorsFile::OpenFolder(root);
  ASSERT_TRUE(sharded.ok()) << sharded.message();
  ASSERT_EQ((*sharded)->tensors().size(), 2u);
  EXPECT_EQ((*sharded)->tensors()[0].name, "a");
  EXPECT_EQ((*sharded)->files().size(), 2u);
  EXPECT_NE((*sharded)->Find("b"), nullptr);
  Touch((*sharded)->tensors());
  folder.Write("model.safetensors", Shard("only"));
  const auto single = SafetensorsFile::OpenFolder(root);
  ASSERT_TRUE(single.ok()) << single.message();
  EXPECT_EQ((*single)->tensors().size(), 1u);
}

TEST(Safetensors, RefusesBrokenIndexes) {
  const TempFolder folder;
  const std::string index = folder.Path("model.safetensors.index.json");
  folder.Write("s1.safetensors", Shard("a"));
  folder.Write("s2.safetensors", Shard("a"));
  folder.Write("s3.safetensors", Shard("b"));
  const auto error = [&](std::string_view text) {
    folder.Write("model.safetensors.index.json", text);
    return SafetensorsFile::OpenFolder(folder.Path(".")).message().substr(folder.Path("./").size());
  };
  const std::string name = "model.safetensors.index.json: ";
  EXPECT_EQ(error("{}"), name + "expected an object \"weight_map\", found none");
  EXPECT_EQ(error("[]"), name + "expected an object \"weight_map\", found none");
  EXPECT_EQ(error(R"({"weight_map":{"a":7}})"),
            name + "tensor \"a\": expected a shard's file name, found \"7\"");
  for (const char* outside : {"../s1.safetensors", "/etc/passwd", "..", ""}) {
    EXPECT_NE(
        error(fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", outside)).find("expected a shard's file name"),
        std::string::npos);
  }
  EXPECT_EQ(error(R"({"weight_map":{"a":"s9.safetensors"}})"),
            "s9.safetensors: cannot open: No such file or directory");
  EXPECT_EQ(error(R"({"weight_map":{"a":"s1.safetensors","z":"s1.safetensors"}})"),
            name + "tensor \"z\": expected in shard \"s1.safetensors\", found in none");
  EXPECT_EQ(error(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})"),
            name + "tensor \"a\": expected in one shard, found in \"s1.safetensors\" and \"s2.safetensors\"");
  EXPECT_EQ(error(R"({"weight_map":{"a":"s3.safetensors","b":"s1.safetensors"}})"),
            name + "tensor \"a\": expected in shard \"s3.safetensors\", found in \"s1.safetensors\"");
}

TEST(Safetensors, OpensPublishedCheckpoints) {
  const std::filesystem::path root = std::string(DEEPSHOCK_SHARED_DATA) + "/conformance";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << "no reference data at " << root;
  int opened = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const auto model = SafetensorsFile::OpenFolder(entry.path());
    ASSERT_TRUE(model.ok()) << model.message();
    EXPECT_GT((*model)->tensors().size(), 5u);
    const auto golden = SafetensorsFile::Open(entry.path() / "golden.safetensors");
    ASSERT_TRUE(golden.ok()) << golden.message();
    EXPECT_NE((*golden)->Find("logits"), nullptr);
    ++opened;
  }
  EXPECT_GT(opened, 10);
}

}  // namespace
}  // namespace deepshock
