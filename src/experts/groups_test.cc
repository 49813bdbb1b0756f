// SPDX-License-Identifier: Apache-2.0
#include "experts/groups.h"

#include <gtest/gtest.h>

#include "base/file_test_dir.h"
#include "base/json.h"

namespace deepshock {
namespace {

GroupsFile SmallFile() {
  GroupsFile file;
  file.model = {"deepseek_v3", 8, 2, 1, {{1, 0x0123456789abcdef}, {10, 0xffffffffffffffff}, {2, 1}}};
  std::swap(file.model.routers[1], file.model.routers[2]);
  ExpertGroup group;
  group.name = "code_expert";
  group.data = "a \"file\"\nof code";
  group.num_tokens = 12;
  group.split_half = SplitHalf{0.75, 0.5};
  group.held_out = HeldOutScore{"other code", 6, 0.5, 0.25, 0.75};
  group.profile = {
      2, 1, {{1, {0.25, 0.75}, {0.1, 0.9}}, {2, {0, 1}, {0, 1}}, {10, {1.0 / 3, 2.0 / 3}, {0.5, 0.5}}}};
  file.groups.push_back(group);
  return file;
}

TEST(GroupsFile, ComesBackAsItWasSaved) {
  const FileTestDir dir;
  const GroupsFile saved = SmallFile();
  ASSERT_TRUE(saved.Save(dir.File("m.experts.json")).ok());
  EXPECT_EQ(dir.NumFiles(), 1);
  const auto loaded = GroupsFile::Load(dir.File("m.experts.json"));
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  EXPECT_EQ(loaded->ToJson(), saved.ToJson());
  const auto found = loaded->Find("code_expert");
  ASSERT_TRUE(found.ok());
  const ExpertGroup& group = **found;
  EXPECT_EQ(group.data, "a \"file\"\nof code");
  EXPECT_EQ(group.num_tokens, 12);
  EXPECT_EQ(group.split_half->jaccard, 0.75);
  EXPECT_EQ(group.held_out->best, 0.75);
  ASSERT_EQ(group.profile.layers.size(), 3u);
  EXPECT_EQ(group.profile.layers[2].layer, 10);  // by number, not by text
  EXPECT_EQ(group.profile.layers[2].token, (std::vector<double>{0.333333, 0.666667}));
  EXPECT_EQ(loaded->model.routers[0].signs, 0x0123456789abcdefu);
  EXPECT_TRUE(loaded->CheckModel(saved.model).ok());
}

TEST(GroupsFile, AnUnknownNameListsTheKnownOnes) {
  GroupsFile file = SmallFile();
  ExpertGroup text = file.groups[0];
  text.name = "text_expert";
  EXPECT_FALSE(file.Put(text));
  EXPECT_TRUE(file.Put(text));
  EXPECT_EQ(file.groups.size(), 2u);
  EXPECT_EQ(file.Find("cod").message(),
            "no expert group is named \"cod\"; known groups: code_expert, text_expert");
  EXPECT_EQ(GroupsFile().Find("x").message(), "no expert group is named \"x\"; known groups: none");
}

TEST(GroupsFile, OfAnotherModelIsRefused) {
  const GroupsFile file = SmallFile();
  ModelFingerprint other = file.model;
  other.architecture = "another name for it";
  for (ModelFingerprint::Router& router : other.routers) router.signs ^= 0x80;  // 1 of 64 turned
  EXPECT_TRUE(file.CheckModel(other).ok());
  for (ModelFingerprint::Router& router : other.routers) router.signs ^= 0x5555555555555555;
  EXPECT_NE(file.CheckModel(other).message().find("its routers differ in 5"), std::string::npos)
      << file.CheckModel(other).message();
  other.num_experts = 3;
  EXPECT_EQ(
      file.CheckModel(other).message(),
      "groups of another model: expected another name for it of 3 experts, 1 chosen, in 3 layers of width 8, "
      "found deepseek_v3 of 2 experts, 1 chosen, in 3 layers of width 8");
  other = file.model;
  other.routers[0].layer = 0;
  EXPECT_EQ(FingerprintDistance(file.model, other), 1);
}

TEST(RouterSigns, AreKnownAgainButForAFewTurned) {
  ModelFingerprint model = SmallFile().model;
  const std::string signs = RouterSigns(model);
  EXPECT_EQ(signs.substr(0, 17), "0123456789abcdef-");
  EXPECT_TRUE(CheckRouterSigns(signs, model).ok());
  model.routers[0].signs ^= 0xff;  // 8 of 192
  EXPECT_TRUE(CheckRouterSigns(signs, model).ok());
  for (auto& router : model.routers) router.signs ^= 0xffffffff;
  EXPECT_NE(CheckRouterSigns(signs, model).message().find("another model: its routers differ in"),
            std::string::npos);
  EXPECT_FALSE(CheckRouterSigns(signs.substr(17), model).ok());
  EXPECT_FALSE(CheckRouterSigns("", model).ok());
  EXPECT_FALSE(CheckRouterSigns(std::string(signs.size(), 'x'), model).ok());
}

TEST(GroupsFile, WhatIsWrongIsNamed) {
  const struct {
    const char* path;  // JSON pointer
    Json value;        // null: removed
    const char* message;
  } cases[] = {
      {"/format", "other", "format: expected \"deepshock-experts\", found \"other\""},
      {"/version", 2, "version: expected 1, found 2"},
      {"/model", nullptr, "expected a field \"model\", found none"},
      {"/model/hidden", 0, "model: hidden: expected a whole number from 1 to 16777216, found 0"},
      {"/model/hidden", 18446744073709551615u, "hidden: expected a whole number"},
      {"/model/top_k", 3, "model: top_k: expected a whole number from 1 to 2, found 3"},
      {"/model/routers/1", "12", "routers: layer 1: expected 16 hexadecimal digits, found \"12\""},
      {"/model/routers/1", "+123456789abcdef", "expected 16 hexadecimal digits"},
      {"/model/routers/01", "0123456789abcdef", "routers: expected the number of a layer, found \"01\""},
      {"/groups", Json::object(), "groups: expected a list, found object"},
      {"/groups/0/name", "a,b", "name of a group: expected 1 to 64 letters"},
      {"/groups/0/rule", "best", "groups[0]: group code_expert: rule: expected esft-token or esft-gate"},
      {"/groups/0/p", 0, "p: expected a number from 1e-06 to 1000000, found 0"},
      {"/groups/0/num_tokens", -1, "num_tokens: expected a whole number"},
      {"/groups/0/split_half/jaccard", 2, "split_half: jaccard: expected a number from 0 to 1, found 2"},
      {"/groups/0/held_out/best", "x", "held_out: best: expected a number from 0 to 1, found string"},
      {"/groups/0/profile/1/token", Json::array({1}), "profile: layer 1: token: expected 2 numbers, found 1"},
      {"/groups/0/profile/1/token/0", -0.1, "token: expected a number from 0 to 1, found -0.1"},
      {"/groups/0/profile/1", nullptr,
       "profile: expected the 3 layers that the model's routers list, found 2"},
      {"/groups/0/profile/x", Json::object(), "profile: expected the number of a layer, found \"x\""},
  };
  const Json whole = *ParseJson(SmallFile().ToJson());
  for (const auto& c : cases) {
    Json changed = whole;
    const Json::json_pointer at(c.path);
    if (c.value.is_null()) {
      changed[at.parent_pointer()].erase(at.back());
    } else {
      changed[at] = c.value;
    }
    const auto parsed = GroupsFile::Parse(changed.dump(), "m.experts.json");
    ASSERT_FALSE(parsed.ok()) << c.path;
    EXPECT_NE(parsed.message().find(c.message), std::string::npos) << parsed.message();
    EXPECT_EQ(parsed.message().rfind("m.experts.json: ", 0), 0u) << parsed.message();
  }
  Json twice = whole;
  twice["groups"].push_back(twice["groups"][0]);
  EXPECT_NE(GroupsFile::Parse(twice.dump(), "f").message().find("\"code_expert\" occurs twice"),
            std::string::npos);
}

TEST(GroupsFile, LiesBesideTheModel) {
  EXPECT_EQ(GroupsPathOf("models/tiny-moe.gguf"), "models/tiny-moe.experts.json");
  EXPECT_EQ(GroupsPathOf("m/big-00001-of-00003.gguf"), "m/big.experts.json");
  EXPECT_EQ(GroupsPathOf("m/big-0001-of-0003.gguf"), "m/big-0001-of-0003.experts.json");
  EXPECT_EQ(GroupsPathOf("m/folder/"), "m/folder/experts.json");
  EXPECT_EQ(GroupsPathOf("m/folder"), "m/folder/experts.json");
}

}  // namespace
}  // namespace deepshock
