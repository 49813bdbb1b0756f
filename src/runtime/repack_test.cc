// SPDX-License-Identifier: Apache-2.0
#include "runtime/repack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/file_test_dir.h"
#include "formats/gguf.h"
#include "model/model.h"
#include "model/repacked.h"
#include "runtime/kv_cache.h"

namespace deepshock {
namespace {

const char* const kModel = DEEPSHOCK_SOURCE_DIR "/models/tiny-moe.gguf";

std::vector<float> Logits(const Model& model, ThreadPool& pool) {
  Compute compute(BestKernels(), pool);
  KvCache cache(model.state_spec(), 64);
  EXPECT_TRUE(cache.Reserve(8).ok());
  const std::vector<int32_t> tokens = {1, 20, 300, 4000, 5, 6};
  const SequenceChunk chunk{cache.view(), tokens, true};
  ForwardOutput output;
  EXPECT_TRUE(model.Forward(compute, {&chunk, 1}, nullptr, &output).ok());
  return output.logits;
}

// A copy of a GGUF file with some keys left out and others changed by `edit`.
void CopyWith(const std::string& from, const std::string& to, const std::vector<std::string>& without,
              const std::function<void(GgufWriter&)>& edit) {
  const auto file = GgufFile::Open(from);
  ASSERT_TRUE(file.ok()) << file.message();
  auto writer = GgufWriter::Create(to);
  ASSERT_TRUE(writer.ok()) << writer.message();
  for (const auto& [key, value] : (*file)->metadata()) {
    if (std::find(without.begin(), without.end(), key) == without.end()) {
      writer->SetValue(key, value, *(*file)->TypeOf(key));
    }
  }
  edit(*writer);
  for (const StoredTensor& t : (*file)->tensors()) {
    ASSERT_TRUE(writer->DeclareTensor(t.name, t.dtype, t.dims).ok());
  }
  ASSERT_TRUE(writer->Begin().ok());
  for (const StoredTensor& t : (*file)->tensors()) {
    ASSERT_TRUE(writer->WriteTensorData({t.data, static_cast<size_t>(t.bytes)}).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
}

class Repack : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return dir_.File(name); }
  FileTestDir dir_;
  ThreadPool pool_{2};
};

TEST_F(Repack, LoadsWithoutCopyingAndComputesTheSame) {
  const std::string path = Path("repacked.gguf");
  const auto report = RepackGguf(kModel, pool_, path, {});
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_EQ(report->expert_records, 256);
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.message();
  const std::byte* base = (*file)->files()[0]->bytes().data();
  for (const StoredTensor& t : (*file)->tensors())
    EXPECT_EQ((t.data - base) % kRepackedAlignment, 0) << t.name;

  const auto original = Model::Load(kModel, {true, &pool_}), repacked = Model::Load(path, {true, &pool_});
  ASSERT_TRUE(repacked.ok()) << repacked.message();
  const std::vector<float> a = Logits(**original, pool_), b = Logits(**repacked, pool_);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
  EXPECT_EQ((*repacked)->weights().mtp.size(), 1u);
}

TEST_F(Repack, RefusesWhatItCannotReadRight) {
  const std::string good = Path("good.gguf"), bad = Path("bad.gguf");
  ASSERT_TRUE(RepackGguf(kModel, pool_, good, {}).ok());
  const auto message = [&](const std::string& path) {
    const auto model = Model::Load(path, {true, &pool_});
    return model.ok() ? std::string() : model.message();
  };
  EXPECT_NE(Model::Load(good).message().find("activations in 8 bits only"), std::string::npos);
  EXPECT_NE(RepackGguf(good, pool_, bad, {}).message().find("not repacked yet"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(bad));

  CopyWith(good, bad, {kRepackedVersionKey}, [](GgufWriter& w) { w.SetU32(kRepackedVersionKey, 99); });
  EXPECT_NE(message(bad).find("expected a repacked file of layout 1, found 99"), std::string::npos)
      << message(bad);
  const auto with_types = [&](std::vector<std::string> types) {
    CopyWith(good, bad, {kRepackedTypesKey}, [&](GgufWriter& w) { w.SetStrings(kRepackedTypesKey, types); });
    return message(bad);
  };
  EXPECT_NE(with_types({"blk.0.attn_q.weight"}).find("expected NAME=TYPE"), std::string::npos);
  EXPECT_NE(with_types({"blk.0.attn_q.weight=f32"}).find("quantised type"), std::string::npos);
  // What the table does not name is read as usual, where an I8 tensor is no weight.
  EXPECT_NE(message(bad), "");
  EXPECT_NE(with_types({"blk.0.attn_output.weight=q2_k"}), "");
}

}  // namespace
}  // namespace deepshock
