// SPDX-License-Identifier: Apache-2.0
#include "experts/trace.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

// A pass that owns what its views show.
struct OwnedStep {
  RoutingStep step;
  std::vector<RoutedRow> rows;
  std::vector<std::vector<int32_t>> experts;
  std::vector<std::vector<float>> weights;
  std::vector<LayerRouting> layers;

  const RoutingStep& View() {
    layers.clear();
    for (size_t l = 0; l < experts.size(); ++l) layers.push_back({layer_ids[l], experts[l], weights[l]});
    step.rows = rows;
    step.layers = layers;
    return step;
  }
  std::vector<int> layer_ids;
};

TraceHeader Header(int num_experts) { return {"a \"model\"", "1234abcd", {num_experts, 4, {1, 2, 5}}}; }

OwnedStep RandomStep(std::mt19937& random, uint64_t number, const TraceHeader& header) {
  OwnedStep s;
  s.step.number = number;
  s.step.num_chosen = header.shape.num_chosen;
  s.layer_ids = header.shape.layers;
  const int num_rows = static_cast<int>(random() % 6),
            num_pass_rows = num_rows + static_cast<int>(random() % 3);
  s.step.num_pass_rows = num_pass_rows;
  for (int i = 0; i < num_rows; ++i) {
    RoutedRow row;
    row.request = random() % 3 == 0 ? uint64_t{1} << 40 : random() % 3;
    row.position = static_cast<int64_t>(random() % 5000);
    row.token = static_cast<int32_t>(random() % 200000);
    row.phase = random() % 2 == 0 ? RoutingPhase::kPrefill : RoutingPhase::kDecode;
    row.row = i + num_pass_rows - num_rows;  // those before do not count
    s.rows.push_back(row);
  }
  for (size_t l = 0; l < header.shape.layers.size(); ++l) {
    std::vector<int32_t> experts;
    std::vector<float> weights;
    for (int t = 0; t < num_pass_rows; ++t) {
      const int left_out = random() % 4 == 0 ? static_cast<int>(random() % 4) : 0;
      for (int i = 0; i < header.shape.num_chosen; ++i) {
        const bool is_out = i >= header.shape.num_chosen - left_out;
        experts.push_back(
            is_out ? -1 : static_cast<int32_t>(random() % static_cast<unsigned>(header.shape.num_experts)));
        weights.push_back(is_out ? 0.0f : static_cast<float>(random() % 256) / 256.0f);  // exact in F16
      }
    }
    s.experts.push_back(experts);
    s.weights.push_back(weights);
  }
  return s;
}

void ExpectSame(OwnedStep& wrote, const RoutingStep& read) {
  const RoutingStep& step = wrote.View();
  EXPECT_EQ(read.number, step.number);
  EXPECT_EQ(read.num_pass_rows, step.num_pass_rows);
  EXPECT_EQ(read.num_chosen, step.num_chosen);
  ASSERT_EQ(read.rows.size(), step.rows.size());
  ASSERT_EQ(read.layers.size(), step.layers.size());
  for (size_t i = 0; i < step.rows.size(); ++i) {
    EXPECT_EQ(read.rows[i].request, step.rows[i].request);
    EXPECT_EQ(read.rows[i].position, step.rows[i].position);
    EXPECT_EQ(read.rows[i].token, step.rows[i].token);
    EXPECT_EQ(read.rows[i].phase, step.rows[i].phase);
    for (size_t l = 0; l < step.layers.size(); ++l) {
      EXPECT_EQ(read.layers[l].layer, step.layers[l].layer);
      EXPECT_TRUE(std::ranges::equal(read.Experts(read.layers[l], read.rows[i]),
                                     step.Experts(step.layers[l], step.rows[i])));
      EXPECT_TRUE(std::ranges::equal(read.Weights(read.layers[l], read.rows[i]),
                                     step.Weights(step.layers[l], step.rows[i])));
    }
  }
}

class TraceTest : public testing::Test {
 protected:
  std::unique_ptr<TraceWriter> Writer(const std::string& path, const TraceHeader& header,
                                      size_t max_buffer = TraceWriter::kMaxBufferBytes) {
    auto writer = TraceWriter::Create(
        path, header, [this](const Status& status) { failures_.push_back(status.message()); }, max_buffer);
    EXPECT_TRUE(writer.ok()) << writer.message();
    return std::move(*writer);
  }
  FileTestDir dir_;
  std::vector<std::string> failures_;
};

TEST_F(TraceTest, ReadsWhatWasWritten) {
  std::mt19937 random(1);
  for (const int num_experts : {4, 256, 257, 60000}) {
    const TraceHeader header = Header(num_experts);
    std::vector<OwnedStep> steps;
    const auto writer = Writer(dir_.File("t"), header);
    for (uint64_t i = 0; i < 300; ++i) {
      steps.push_back(RandomStep(random, 3 * i, header));
      writer->OnStep(steps.back().View());
    }
    ASSERT_TRUE(writer->Close().ok());
    const auto opened = TraceReader::Open(dir_.File("t"));
    ASSERT_TRUE(opened.ok()) << opened.message();
    TraceReader& reader = **opened;
    EXPECT_EQ(reader.header().model, header.model);
    EXPECT_EQ(reader.header().fingerprint, header.fingerprint);
    EXPECT_EQ(reader.header().shape.num_experts, num_experts);
    EXPECT_EQ(reader.header().shape.layers, header.shape.layers);
    for (OwnedStep& step : steps) {
      const auto read = reader.Next();
      ASSERT_TRUE(read.ok()) << read.message();
      ASSERT_NE(*read, nullptr);
      ExpectSame(step, **read);
    }
    const auto end = reader.Next();
    ASSERT_TRUE(end.ok()) << end.message();
    EXPECT_EQ(*end, nullptr);
    EXPECT_TRUE(reader.complete());
    EXPECT_EQ(reader.num_dropped_rows(), 0);
  }
}

// Every prefix of a trace is a trace that was cut off; every changed byte is found or harmless.
TEST_F(TraceTest, AnyBytesAreReadSafely) {
  std::mt19937 random(2);
  const TraceHeader header = Header(32);
  const auto writer = Writer(dir_.File("t"), header);
  for (uint64_t i = 0; i < 12; ++i) writer->OnStep(RandomStep(random, i, header).View());
  ASSERT_TRUE(writer->Close().ok());
  const std::string whole = dir_.Get("t");
  class Ignore final : public RoutingSink {
    void OnStep(const RoutingStep&) override {}
  } ignore;
  int opened = 0;
  for (size_t size = 0; size < whole.size(); size += 3) {
    dir_.Put("cut", whole.substr(0, size));
    const auto reader = TraceReader::Open(dir_.File("cut"));
    if (!reader.ok()) continue;
    ++opened;
    const Status status = (*reader)->Replay(ignore);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_FALSE((*reader)->complete()) << size;
  }
  EXPECT_GT(opened, 50);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::string changed = whole;
    changed[random() % changed.size()] = static_cast<char>(random());
    dir_.Put("changed", changed);
    const auto reader = TraceReader::Open(dir_.File("changed"));
    refused += !reader.ok() || !(*reader)->Replay(ignore).ok() ? 1 : 0;
  }
  EXPECT_GT(refused, 25);
}

TEST_F(TraceTest, NamesWhatIsWrong) {
  dir_.Put("no", "GGUF, say");
  EXPECT_NE(TraceReader::Open(dir_.File("no")).message().find("begins with DSROUTE1"), std::string::npos);
  const auto bad = TraceWriter::Create(dir_.File("t"), {"m", "", {8, 9, {0}}}, {});
  EXPECT_NE(bad.message().find("experts_per_token: expected 1 to 8, found 9"), std::string::npos)
      << bad.message();
}

// A device that is always full: one failure is told, the rest is ignored.
TEST_F(TraceTest, AFullDiskEndsTracingWithOneWarning) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  std::mt19937 random(3);
  const TraceHeader header = Header(32);
  const auto writer = Writer("/dev/full", header);
  for (uint64_t i = 0; i < 20000; ++i) writer->OnStep(RandomStep(random, i, header).View());
  EXPECT_FALSE(writer->Close().ok());
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_NE(failures_[0].find("/dev/full: cannot write"), std::string::npos) << failures_[0];
}

// The file may grow to a limit: what is there is whole records.
TEST_F(TraceTest, WhatWasWrittenBeforeTheDiskWasFullStaysReadable) {
  std::mt19937 random(4);
  const TraceHeader header = Header(32);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{300000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto writer = Writer(dir_.File("t"), header);
  for (uint64_t i = 0; i < 20000; ++i) writer->OnStep(RandomStep(random, i, header).View());
  EXPECT_FALSE(writer->Close().ok());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(failures_.size(), 1u);
  const auto reader = TraceReader::Open(dir_.File("t"));
  ASSERT_TRUE(reader.ok()) << reader.message();
  int64_t num_steps = 0;
  for (;;) {
    const auto step = (*reader)->Next();
    ASSERT_TRUE(step.ok()) << step.message();
    if (*step == nullptr) break;
    ++num_steps;
  }
  EXPECT_GT(num_steps, 100);
  EXPECT_FALSE((*reader)->complete());
}

// No room in memory: passes are left out, and the trace says how many.
TEST_F(TraceTest, WhatTheDiskIsTooSlowForIsCounted) {
  std::mt19937 random(5);
  const TraceHeader header = Header(32);
  const auto writer = Writer(dir_.File("t"), header, 1000);  // less than is handed over at once
  constexpr uint64_t kSteps = 20000;
  for (uint64_t i = 0; i < kSteps; ++i) writer->OnStep(RandomStep(random, i, header).View());
  EXPECT_GT(writer->num_dropped_rows(), 0);
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_TRUE(failures_.empty());
  const auto reader = TraceReader::Open(dir_.File("t"));
  ASSERT_TRUE(reader.ok()) << reader.message();
  int64_t num_steps = 0;
  for (auto step = (*reader)->Next(); step.ok() && *step != nullptr; step = (*reader)->Next()) ++num_steps;
  EXPECT_TRUE((*reader)->complete());
  EXPECT_EQ(num_steps, writer->num_steps());
  EXPECT_EQ(num_steps + (*reader)->num_dropped_steps(), static_cast<int64_t>(kSteps));
  EXPECT_EQ((*reader)->num_dropped_rows(), writer->num_dropped_rows());
}

}  // namespace
}  // namespace deepshock
