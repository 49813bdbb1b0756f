// SPDX-License-Identifier: Apache-2.0
// Every architecture against reference outputs, from its Hugging Face folder and from a GGUF converted at
// F32, under every kernel table that this machine runs. Needs the reference data; skipped, and counted,
// without it.
#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/convert.h"
#include "runtime/verify.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

// What `deepshock verify` asks by default; the bar of the project is 2e-4 on logits.
void ExpectVerified(const Model& model, const std::string& golden_path, const std::string& label) {
  const auto golden = SafetensorsFile::Open(golden_path);
  ASSERT_TRUE(golden.ok()) << golden.message();
  for (const Kernels* kernels : AvailableKernels()) {
    ThreadPool pool(2);
    Compute compute(*kernels, pool);
    const auto checks = VerifyModel(model, compute, **golden, {});
    ASSERT_TRUE(checks.ok()) << label << ": " << checks.message();
    bool has_greedy = false;
    for (const VerifyCheck& check : *checks) {
      has_greedy |= check.name == "greedy tokens";
      EXPECT_TRUE(check.passed) << label << ", " << kernels->name << ", " << check.name << ": error "
                                << check.max_error << ", tolerance " << check.tolerance << ", "
                                << check.detail;
    }
    EXPECT_TRUE(has_greedy) << label;
  }
}

class Conformance : public testing::TestWithParam<const char*> {};

TEST_P(Conformance, MatchesTheReference) {
  const std::string folder = std::string(DEEPSHOCK_SHARED_DATA) + "/conformance/" + GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
  const auto model = Model::Load(folder);
  ASSERT_TRUE(model.ok()) << model.message();
  ExpectVerified(**model, folder + "/golden.safetensors", "folder");

  ThreadPool pool(2);
  const std::string gguf = (fs::path(testing::TempDir()) / (std::string(GetParam()) + ".gguf")).string();
  ConvertOptions options;
  options.types = *TypePlan::Parse("f32");
  const auto report = ConvertToGguf(**model, pool, gguf, options, [](GgufWriter&) { return Status(); });
  ASSERT_TRUE(report.ok()) << report.message();
  const auto converted = Model::Load(gguf);
  ASSERT_TRUE(converted.ok()) << converted.message();
  ExpectVerified(**converted, folder + "/golden.safetensors", "gguf");
  fs::remove(gguf);
}

INSTANTIATE_TEST_SUITE_P(All, Conformance,
                         testing::Values("deepseek_v2_lite", "deepseek_v2_grouped_yarn", "deepseek_v3",
                                         "deepseek_v3_yarn", "kimi_k2_style", "mixtral", "qwen2_moe",
                                         "qwen3_moe", "olmoe", "gpt_oss", "glm4_moe", "llama", "qwen2",
                                         "qwen3"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace deepshock
