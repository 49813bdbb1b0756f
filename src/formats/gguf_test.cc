// SPDX-License-Identifier: Apache-2.0
#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "formats/gguf_parse.h"
#include "formats/gguf_types.h"
#include "formats/test_files.h"

namespace deepshock {
namespace {

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::vector<std::byte> RandomBytes(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> out(size);
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  return out;
}

struct TestTensor {
  const char* name;
  DType dtype;
  std::vector<int64_t> dims;
};
const std::vector<TestTensor> kTestTensors = {
    {"f32", DType::kF32, {3, 5}},         {"bf16", DType::kBF16, {7}},
    {"f16", DType::kF16, {2, 2, 2, 3}},   {"q8_0", DType::kQ8_0, {3, 64}},
    {"mxfp4", DType::kMxfp4, {2, 3, 32}}, {"q4_k", DType::kQ4_K, {2, 256}},
    {"scalar", DType::kF32, {}},          {"i8", DType::kI8, {1}},
    {"q5_1", DType::kQ5_1, {1, 32}},
};

// All kinds of keys and a tensor of each of many types.
Status WriteTestFile(const std::string& path) {
  DS_ASSIGN(GgufWriter writer, GgufWriter::Create(path));
  writer.SetString("general.architecture", "test");
  writer.SetU32("u32", 4000000000u);
  writer.SetU64("u64", UINT64_MAX);
  writer.SetF32("f32", 0.5f);
  writer.SetBool("yes", true);
  writer.SetBool("no", false);
  writer.SetStrings("strings", std::vector<std::string>{"", "ab", "\xC3\xA9"});
  writer.SetI32s("i32s", std::vector<int32_t>{-1, 0, INT32_MAX});
  writer.SetF32s("f32s", std::vector<float>{1.5f, -2.0f});
  writer.SetValue("i8", GgufValue(GgufScalar(int64_t{-5})), GgufType::kI8);
  writer.SetValue("f64", GgufValue(GgufScalar(0.1)), GgufType::kF64);
  for (const TestTensor& t : kTestTensors) DS_RETURN_IF_ERROR(writer.DeclareTensor(t.name, t.dtype, t.dims));
  DS_RETURN_IF_ERROR(writer.Begin());
  for (const TestTensor& t : kTestTensors) {
    const auto data = RandomBytes(*StoredBytes(t.dtype, t.dims), t.name[0]);
    // In two pieces, as a converter streams rows.
    DS_RETURN_IF_ERROR(writer.WriteTensorData(std::span(data).first(data.size() / 2)));
    DS_RETURN_IF_ERROR(writer.WriteTensorData(std::span(data).subspan(data.size() / 2)));
  }
  return writer.Finish();
}

std::string ParseError(const RawGguf& raw) { return ParseGguf(Bytes(raw.bytes)).message(); }

TEST(Gguf, WritesWhatItReads) {
  const TempFolder folder;
  const std::string path = folder.Path("x.gguf");
  const Status written = WriteTestFile(path);
  ASSERT_TRUE(written.ok()) << written.message();
  EXPECT_EQ(folder.NumFiles(), 1);  // no temporary file stays
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.message();
  const GgufFile& f = **file;
  EXPECT_EQ(*f.GetString("general.architecture"), "test");
  EXPECT_EQ(*f.GetInt("u32"), 4000000000);
  EXPECT_EQ(*f.GetInt("i8"), -5);
  EXPECT_EQ(f.TypeOf("i8"), GgufType::kI8);
  EXPECT_EQ(f.TypeOf("none"), std::nullopt);
  EXPECT_EQ(*f.GetFloat("f32"), 0.5);
  EXPECT_EQ(*f.GetFloat("f64"), 0.1);
  EXPECT_EQ(*f.GetFloat("i8"), -5.0);
  EXPECT_TRUE(*f.GetBool("yes"));
  EXPECT_FALSE(*f.GetBool("no"));
  EXPECT_EQ(*f.GetStrings("strings"), (std::vector<std::string_view>{"", "ab", "\xC3\xA9"}));
  EXPECT_EQ(*f.GetInts("i32s"), (std::vector<int64_t>{-1, 0, INT32_MAX}));
  EXPECT_EQ(*f.GetFloats("f32s"), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(*f.GetFloats("i32s"), (std::vector<float>{-1, 0, 2147483648.0f}));

  ASSERT_EQ(f.tensors().size(), kTestTensors.size());
  for (size_t i = 0; i < kTestTensors.size(); ++i) {
    const TestTensor& want = kTestTensors[i];
    const StoredTensor& got = f.tensors()[i];
    EXPECT_EQ(got.name, want.name);
    EXPECT_EQ(got.dtype, want.dtype);
    EXPECT_EQ(got.dims, want.dims);
    EXPECT_EQ(f.FindTensor(want.name), &got);
    const auto data = RandomBytes(*StoredBytes(want.dtype, want.dims), want.name[0]);
    ASSERT_EQ(got.bytes, static_cast<int64_t>(data.size()));
    EXPECT_EQ(std::memcmp(got.data, data.data(), data.size()), 0) << want.name;
    EXPECT_EQ((got.data - f.files()[0]->bytes().data()) % 32, 0) << want.name;
  }
  EXPECT_EQ(f.FindTensor("f3"), nullptr);
}

TEST(Gguf, LookUpErrorsNameFileKeyExpectedAndFound) {
  const TempFolder folder;
  const std::string path = folder.Path("x.gguf");
  ASSERT_TRUE(WriteTestFile(path).ok());
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.message();
  const GgufFile& f = **file;
  EXPECT_EQ(f.GetInt("none").message(),
            path + ": key \"none\": expected an integer of at most 63 bits, found no such key");
  EXPECT_EQ(f.GetInt("u64").message(),
            path + ": key \"u64\": expected an integer of at most 63 bits, found u64 18446744073709551615");
  EXPECT_EQ(f.GetInt("f32").message(),
            path + ": key \"f32\": expected an integer of at most 63 bits, found f32 0.5");
  EXPECT_EQ(f.GetInt("yes").message(),
            path + ": key \"yes\": expected an integer of at most 63 bits, found bool true");
  EXPECT_EQ(f.GetBool("u32").message(), path + ": key \"u32\": expected a bool, found u32 4000000000");
  EXPECT_EQ(f.GetFloat("general.architecture").message(),
            path + ": key \"general.architecture\": expected a number, found string \"test\"");
  EXPECT_EQ(f.GetString("i32s").message(),
            path + ": key \"i32s\": expected a string, found an array of 3 i32");
  EXPECT_EQ(f.GetStrings("f32s").message(),
            path + ": key \"f32s\": expected an array of strings, found an array of 2 f32");
  EXPECT_EQ(f.GetInts("u32").message(),
            path + ": key \"u32\": expected an array of integers of at most 63 bits, found u32 4000000000");
  EXPECT_FALSE(f.GetInts("f32s").ok());
  EXPECT_FALSE(f.GetInts("strings").ok());
  EXPECT_FALSE(f.GetFloats("strings").ok());
  EXPECT_EQ(GgufFile::Open(folder.Path("none.gguf")).message(),
            folder.Path("none.gguf") + ": cannot open: No such file or directory");
}

// ---- Reading hostile bytes ----

TEST(Gguf, ReadsVersion2HolesAndOtherAlignments) {
  RawGguf raw(2, 3, 2);
  raw.U32("general.alignment", 64).Key("flags", GgufType::kArray).Put(GgufType::kBool).Put<uint64_t>(2);
  raw.Put<uint8_t>(1).Put<uint8_t>(0).Key("i64", GgufType::kI64).Put<int64_t>(INT64_MIN);
  raw.Tensor("b", {2}, 0, 128).Tensor("a", {3, 1}, 24, 0).Data(136, 64);
  const auto part = ParseGguf(Bytes(raw.bytes));
  ASSERT_TRUE(part.ok()) << part.message();
  EXPECT_EQ(part->tensors[0].dims, std::vector<int64_t>{2});
  EXPECT_EQ(part->tensors[1].dims, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(static_cast<int>(part->tensors[0].data[0]), 128);
  const TempFolder folder;
  const auto file = GgufFile::Open(folder.Write("x", raw.bytes));
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_EQ(*(*file)->GetInts("flags"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(*(*file)->GetInt("i64"), INT64_MIN);
}

TEST(Gguf, RefusesWrongHeads) {
  EXPECT_EQ(ParseGguf({}).message(), "expected a GGUF file, found no \"GGUF\" at its start");
  EXPECT_EQ(ParseGguf(Bytes("GGML1234")).message(), "expected a GGUF file, found no \"GGUF\" at its start");
  EXPECT_EQ(ParseGguf(Bytes("GGUF")).message(), "expected 4 bytes at offset 4, found the file's last 0");
  EXPECT_EQ(ParseError(RawGguf(0, 0, 1)), "expected GGUF version 2 or 3, found 1");
  EXPECT_EQ(ParseError(RawGguf(0, 0, 0x03000000)),
            "expected a little-endian GGUF file, found a big-endian one of version 3");
  EXPECT_EQ(ParseError(RawGguf(0, 0)), "");
  // Counts alone allocate nothing and fail at once.
  EXPECT_EQ(ParseError(RawGguf(0, UINT64_MAX)),
            "key 0 of 18446744073709551615: expected 8 bytes at offset 24, found the file's last 0");
  EXPECT_EQ(ParseError(RawGguf(UINT64_MAX, 0)),
            "tensor 0 of 18446744073709551615: expected 8 bytes at offset 24, found the file's last 0");
}

TEST(Gguf, RefusesWrongKeys) {
  EXPECT_EQ(ParseError(RawGguf(0, 2).U32("a", 1).U32("a", 1)), "key \"a\": expected once, found twice");
  EXPECT_EQ(ParseError(RawGguf(0, 1).U32("", 1)), "key \"\": expected a name of 1 to 65535 bytes, found 0");
  EXPECT_EQ(ParseError(RawGguf(0, 1).U32("a\xFF\n", 1)),
            "key \"a\\xff\\x0a\": expected UTF-8, found an invalid byte at 1");
  EXPECT_EQ(ParseError(RawGguf(0, 1).U32(std::string(70000, 'k'), 1)),
            "key \"" + std::string(120, 'k') +
                "...(70000 bytes)\": expected a name of 1 to 65535 bytes, found 70000");
  EXPECT_EQ(ParseError(RawGguf(0, 1).Key("a", static_cast<GgufType>(13))),
            "key \"a\": expected a value type below 13, found 13");
  EXPECT_EQ(ParseError(RawGguf(0, 1).Key("a", GgufType::kBool).Put<uint8_t>(2)),
            "key \"a\": expected a bool of 0 or 1, found 2");
  EXPECT_EQ(ParseError(RawGguf(0, 1).Key("a", GgufType::kString).Put<uint64_t>(UINT64_MAX)),
            "key \"a\": expected 18446744073709551615 bytes at offset 45, found the file's last 0");
  const auto array = [](GgufType type, uint64_t count) {
    return RawGguf(0, 1).Key("a", GgufType::kArray).Put(type).Put(count);
  };
  EXPECT_EQ(ParseError(array(GgufType::kArray, 1)),
            "key \"a\": expected an array of numbers or strings, found an array of arrays");
  EXPECT_EQ(ParseError(array(GgufType::kString, UINT64_MAX).Put<uint64_t>(0)),
            "key \"a\": expected an array that fits into the file's last 8 bytes, found 18446744073709551615 "
            "elements "
            "of type string");
  EXPECT_EQ(ParseError(array(GgufType::kU64, (1ull << 61) + 1).Put<uint64_t>(0)),
            "key \"a\": expected an array that fits into the file's last 8 bytes, found 2305843009213693953 "
            "elements "
            "of type u64");
  EXPECT_EQ(ParseError(array(GgufType::kString, 2).String("").Put<uint64_t>(9)),
            "key \"a\": element 1: expected 9 bytes at offset 65, found the file's last 0");
  for (const uint32_t alignment : {0u, 3u, 48u}) {
    EXPECT_EQ(ParseError(RawGguf(0, 1).U32("general.alignment", alignment)),
              fmt::format("key \"general.alignment\": expected a power of two, found {}", alignment));
  }
  EXPECT_EQ(ParseError(RawGguf(0, 1).Key("general.alignment", GgufType::kString).String("32")),
            "key \"general.alignment\": expected u32, found string");
}

TEST(Gguf, RefusesWrongTensors) {
  const auto one = [](std::initializer_list<uint64_t> dims, uint32_t type, uint64_t offset) {
    return ParseError(RawGguf(1, 0).Tensor("t", dims, type, offset).Data(256));
  };
  EXPECT_EQ(one({64}, 0, 0), "");
  EXPECT_EQ(one({65}, 0, 0),
            "tensor \"t\": expected 260 bytes at offset 0 of the data, found 256 bytes of data");
  EXPECT_EQ(one({1}, 0, 4), "tensor \"t\": expected an offset that is a multiple of 32, found 4");
  EXPECT_EQ(one({1}, 0, 256),
            "tensor \"t\": expected 4 bytes at offset 256 of the data, found 256 bytes of data");
  EXPECT_EQ(
      one({64}, 0, UINT64_MAX - 31),
      "tensor \"t\": expected 256 bytes at offset 18446744073709551584 of the data, found 256 bytes of data");
  EXPECT_EQ(one({1, 1, 1, 1, 1}, 0, 0), "tensor \"t\": expected at most 4 dimensions, found 5");
  EXPECT_EQ(one({4, 0}, 0, 0), "tensor \"t\": expected dimensions from 1 to 2^63 - 1, found 0");
  EXPECT_EQ(one({1ull << 63}, 0, 0),
            "tensor \"t\": expected dimensions from 1 to 2^63 - 1, found 9223372036854775808");
  EXPECT_EQ(one({1ull << 32, 1ull << 31}, 0, 0),
            "tensor \"t\": expected fewer than 2^63 elements, found more");
  EXPECT_EQ(one({1ull << 62}, 0, 0), "tensor \"t\": expected fewer than 2^63 bytes, found more");
  EXPECT_EQ(one({100}, 12, 0),
            "tensor \"t\": expected rows of whole 256-element blocks of q4_k, found rows of 100");
  EXPECT_EQ(one({256}, 16, 0), "tensor \"t\": expected a supported type, found iq2_xxs (16)");
  EXPECT_EQ(one({256}, 34, 0), "tensor \"t\": expected a supported type, found tq1_0 (34)");
  EXPECT_EQ(one({256}, 4, 0), "tensor \"t\": expected a supported type, found 4 (unknown)");
  EXPECT_EQ(one({256}, 9999, 0), "tensor \"t\": expected a supported type, found 9999 (unknown)");

  EXPECT_EQ(ParseError(RawGguf(2, 0).Tensor("a", {16}, 0, 32).Tensor("b", {9}, 0, 0).Data(256)),
            "tensor \"a\": expected bytes of its own, found 4 shared with tensor \"b\"");
  EXPECT_EQ(ParseError(RawGguf(2, 0).Tensor("a", {8}, 0, 32).Tensor("b", {8}, 0, 0).Data(256)), "");
  EXPECT_EQ(ParseError(RawGguf(2, 0).Tensor("a", {8}, 0, 32).Tensor("a", {8}, 0, 0).Data(256)),
            "tensor \"a\": expected once, found twice");
  EXPECT_EQ(ParseError(RawGguf(1, 0).Tensor("\xC0\x80", {8}, 0, 0).Data(256)),
            "tensor \"\\xc0\\x80\": expected UTF-8, found an invalid byte at 0");
  EXPECT_EQ(ParseError(RawGguf(1, 1).U32("general.alignment", 1u << 31).Tensor("a", {8}, 0, 0).Data(256)),
            "tensor \"a\": expected 32 bytes at offset 0 of the data, found 0 bytes of data");
}

// Cut short at every length and with every bit turned over: always a Result, never a crash or a byte outside.
TEST(Gguf, SurvivesCorruption) {
  const TempFolder folder;
  ASSERT_TRUE(WriteTestFile(folder.Path("x.gguf")).ok());
  const std::string good = folder.Read("x.gguf");
  const auto whole = ParseGguf(Bytes(good));
  ASSERT_TRUE(whole.ok());
  const StoredTensor& last = whole->tensors.back();
  const auto needed = static_cast<size_t>(last.data + last.bytes - Bytes(good).data());
  for (size_t size = 0; size < good.size(); ++size) {
    const std::string cut =
        good.substr(0, size);  // a block of its own, so that a sanitizer sees reads past it
    EXPECT_EQ(ParseGguf(Bytes(cut)).ok(), size >= needed) << size;
  }
  int refused = 0;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const auto part = ParseGguf(Bytes(bad));
    refused += !part.ok();
    if (part.ok()) Touch(part->tensors);
  }
  EXPECT_GT(refused, 1000);
}

// ---- Split sets ----

std::string SplitPart(uint16_t number, uint16_t count, const char* tensor, bool first_has_all_keys = true) {
  RawGguf raw(1, number == 0 && first_has_all_keys ? 4 : 2);
  raw.Key("split.no", GgufType::kU16).Put(number).Key("split.count", GgufType::kU16).Put(count);
  if (number == 0 && first_has_all_keys) {
    raw.Key("general.name", GgufType::kString).String("whole");
    raw.Key("split.tensors.count", GgufType::kI32).Put<int32_t>(count);
  }
  return raw.Tensor(tensor, {static_cast<uint64_t>(number) + 1}, 0, 0).Data(32).bytes;
}

TEST(Gguf, OpensSplitSetsFromAnyPart) {
  const TempFolder folder;
  folder.Write("m-00001-of-00003.gguf", SplitPart(0, 3, "a"));
  folder.Write("m-00002-of-00003.gguf", SplitPart(1, 3, "b"));
  folder.Write("m-00003-of-00003.gguf", SplitPart(2, 3, "c"));
  for (const char* name : {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    const auto file = GgufFile::Open(folder.Path(name));
    ASSERT_TRUE(file.ok()) << file.message();
    EXPECT_EQ(*(*file)->GetString("general.name"), "whole");
    EXPECT_EQ((*file)->files().size(), 3u);
    ASSERT_EQ((*file)->tensors().size(), 3u);
    EXPECT_EQ((*file)->FindTensor("c")->dims, std::vector<int64_t>{3});
    EXPECT_EQ((*file)->tensors()[1].name, "b");
    Touch((*file)->tensors());
  }
}

TEST(Gguf, RefusesBrokenSplitSets) {
  const TempFolder folder;
  const std::string first = folder.Write("m-00001-of-00002.gguf", SplitPart(0, 2, "a"));
  const std::string second = folder.Path("m-00002-of-00002.gguf");
  const auto error = [](const std::string& path) { return GgufFile::Open(path).message(); };
  EXPECT_EQ(error(first), second + ": cannot open: No such file or directory");
  folder.Write("m-00002-of-00002.gguf", SplitPart(1, 2, "a"));
  EXPECT_EQ(error(first), second + ": tensor \"a\": expected in one part, found in two");
  folder.Write("m-00002-of-00002.gguf", SplitPart(0, 2, "b"));
  EXPECT_EQ(error(first), second + ": expected part 1 of 2, found split.no 0 of split.count 2");
  folder.Write("m-00002-of-00002.gguf", RawGguf(0, 0).bytes);
  EXPECT_EQ(error(first),
            second + ": key \"split.no\": expected an integer of at most 63 bits, found no such key");
  folder.Write("m-00002-of-00002.gguf", RawGguf(0, 2).U32("split.no", 1).U32("split.count", 2).bytes);
  EXPECT_EQ(error(first), first + ": expected 2 tensors in the 2 parts (split.tensors.count), found 1");
  const std::string renamed = folder.Write("renamed.gguf", SplitPart(0, 2, "a"));
  EXPECT_EQ(error(renamed),
            renamed +
                ": expected a name that ends in -00001-of-00002.gguf, as this part of a split "
                "set must have to find the others");
  const std::string odd = folder.Write("odd.gguf", SplitPart(2, 2, "a"));
  EXPECT_EQ(error(odd), odd + ": expected split.no below split.count of at most 65535, found 2 and 2");
  EXPECT_EQ(error(folder.Write("one.gguf", SplitPart(0, 1, "a"))), "");
}

// ---- Writing ----

TEST(GgufWriter, CopiesKeysAsTheyWere) {
  const TempFolder folder;
  const std::string from = folder.Path("from.gguf"), to = folder.Path("to.gguf");
  ASSERT_TRUE(WriteTestFile(from).ok());
  const auto source = GgufFile::Open(from);
  ASSERT_TRUE(source.ok());
  auto writer = GgufWriter::Create(to);
  ASSERT_TRUE(writer.ok());
  for (const auto& [key, value] : (*source)->metadata())
    writer->SetValue(key, value, *(*source)->TypeOf(key));
  writer->SetValue("general.alignment", GgufValue(GgufScalar(uint64_t{64})), GgufType::kU32);
  writer->SetValue("split.count", GgufValue(GgufScalar(uint64_t{3})), GgufType::kU16);
  ASSERT_TRUE(writer->Begin().ok());
  ASSERT_TRUE(writer->Finish().ok());
  const auto copy = GgufFile::Open(to);
  ASSERT_TRUE(copy.ok()) << copy.message();
  ASSERT_EQ((*copy)->metadata().size(), (*source)->metadata().size());
  for (const auto& [key, value] : (*source)->metadata()) {
    EXPECT_EQ((*copy)->TypeOf(key), (*source)->TypeOf(key)) << key;
    const GgufValue& other = (*copy)->metadata().find(key)->second;
    if (const auto* array = std::get_if<GgufArray>(&value)) {
      const auto& copied = std::get<GgufArray>(other);
      EXPECT_EQ(copied.type, array->type);
      EXPECT_EQ(copied.strings, array->strings);
      EXPECT_TRUE(
          std::equal(copied.packed.begin(), copied.packed.end(), array->packed.begin(), array->packed.end()));
    } else {
      EXPECT_EQ(std::get<GgufScalar>(other), std::get<GgufScalar>(value)) << key;
    }
  }
}

TEST(GgufWriter, RefusalsLeaveNoFile) {
  const TempFolder folder;
  const std::string path = folder.Path("x.gguf");
  const auto begin = [&](auto&& set) {
    auto writer = GgufWriter::Create(path);
    set(*writer);
    return writer->Begin().message();
  };
  EXPECT_EQ(begin([](GgufWriter& w) { w.SetU32("a", 1), w.SetBool("a", true); }),
            path + ": key \"a\": expected once, found twice");
  EXPECT_EQ(begin([](GgufWriter& w) { w.SetU32("\xFF", 1); }),
            path + ": key \"\\xff\": expected UTF-8, found an invalid byte at 0");
  EXPECT_EQ(begin([](GgufWriter& w) { w.SetValue("a", GgufValue(GgufScalar(int64_t{-1})), GgufType::kU64); }),
            path + ": key \"a\": expected a value that fits u64, found another");
  EXPECT_EQ(
      begin([](GgufWriter& w) { w.SetValue("a", GgufValue(GgufScalar(uint64_t{256})), GgufType::kU8); }),
      path + ": key \"a\": expected a value that fits u8, found another");
  {
    auto writer = GgufWriter::Create(path);
    const auto declare = [&](const char* name, DType dtype, std::vector<int64_t> dims) {
      return writer->DeclareTensor(name, dtype, dims).message();
    };
    EXPECT_EQ(declare("t", DType::kF8E4M3, {2}),
              path + ": tensor \"t\": expected a type that GGUF has, found f8_e4m3");
    EXPECT_EQ(declare("t", DType::kMxfp4Split, {32}),
              path + ": tensor \"t\": expected a type that GGUF has, found mxfp4_split");
    EXPECT_EQ(declare("t", DType::kF32, {2, 0}),
              path + ": tensor \"t\": expected dimensions of at least 1, found [2, 0]");
    EXPECT_EQ(declare("t", DType::kF32, {1, 1, 1, 1, 1}),
              path + ": tensor \"t\": expected at most 4 dimensions, found 5");
    EXPECT_EQ(declare("t", DType::kQ4_K, {1, 32}),
              path + ": tensor \"t\": expected rows of whole 256-element blocks of q4_k, found rows of 32");
    EXPECT_EQ(declare("t", DType::kF32, {2}), "");
    EXPECT_EQ(declare("t", DType::kF32, {2}), path + ": tensor \"t\": expected once, found twice");
    ASSERT_TRUE(writer->Begin().ok());
    const std::vector<std::byte> data(12);
    EXPECT_EQ(writer->WriteTensorData(data).message(), path + ": tensor \"t\": expected 8 bytes, found 12");
    EXPECT_TRUE(writer->WriteTensorData(std::span(data).first(4)).ok());
    EXPECT_EQ(writer->Finish().message(), path + ": tensor \"t\": expected 8 bytes, found 4");
    EXPECT_TRUE(writer->WriteTensorData(std::span(data).first(4)).ok());
    EXPECT_EQ(writer->WriteTensorData(std::span(data).first(1)).message(),
              path + ": expected no more tensor data, found 1 bytes");
  }
  EXPECT_EQ(folder.NumFiles(), 0);
  EXPECT_FALSE(GgufWriter::Create(folder.Path("no/such/folder.gguf")).ok());
}

}  // namespace
}  // namespace deepshock
