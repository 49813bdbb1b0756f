// SPDX-License-Identifier: Apache-2.0
#include "apps/common/config_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>

namespace deepshock {
namespace {

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    app_ = program_.add_subcommand("serve", "");
    app_->add_option("MODEL", model_);
    app_->add_option("--port", port_);
    app_->add_option("--drain_seconds,--drain-seconds", seconds_);
    app_->add_option("--log", log_)->check(CLI::IsMember({"text", "json"}));
    app_->add_option("--cors", cors_);
    app_->add_flag("--quiet", quiet_);
  }
  ~ConfigFile() override { ::unlink(path_.c_str()); }
  Status Apply(const std::string& arguments, const std::string& text) {
    program_.parse("serve " + arguments, false);
    std::ofstream(path_) << text;
    return ApplyConfigFile(*app_, path_);
  }
  CLI::App program_;
  CLI::App* app_ = nullptr;
  std::string model_, log_;
  int port_ = 1;
  double seconds_ = 0;
  std::vector<std::string> cors_;
  bool quiet_ = false;
  const std::string path_ = testing::TempDir() + "deepshock-config-" + std::to_string(::getpid());
};

TEST_F(ConfigFile, GivesWhatTheCommandLineDoesNot) {
  const Status status =
      Apply("--port 5",
            "# comment\nMODEL = \"/models/a b\"\nport = 6\ndrain_seconds=1.5\nlog = \"json\"\n"
            "cors = [\"https://a\", \"https://b\"]\nquiet = true\n");
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(port_, 5);
  EXPECT_EQ(model_, "/models/a b");
  EXPECT_EQ(seconds_, 1.5);
  EXPECT_EQ(log_, "json");
  EXPECT_EQ(cors_, (std::vector<std::string>{"https://a", "https://b"}));
  EXPECT_TRUE(quiet_);
}

TEST_F(ConfigFile, SaysWhatIsWrong) {
  EXPECT_NE(Apply("", "prot = 6\n").message().find("the long name of an option (see --help), found \"prot\""),
            std::string::npos);
}

TEST_F(ConfigFile, ChecksValues) {
  EXPECT_NE(Apply("", "log = \"loud\"\n").message().find("loud"), std::string::npos);
  EXPECT_NE(Apply("", "port = many\n").message().find("many"), std::string::npos);
  EXPECT_FALSE(ApplyConfigFile(*app_, "/nowhere").ok());
}

}  // namespace
}  // namespace deepshock
