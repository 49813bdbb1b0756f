// SPDX-License-Identifier: Apache-2.0
#include "apps/common/config_file.h"

#include <CLI/CLI.hpp>
#include <sstream>
#include <vector>

#include "base/mapped_file.h"

namespace deepshock {
namespace {

constexpr size_t kMaxConfigBytes = 1u << 20;

Status Apply(CLI::App& app, const CLI::ConfigItem& item) {
  // CLI11 marks where sections begin and end with names of its own.
  if (item.name == "++" || item.name == "--") return {};
  CLI::Option* option = item.parents.empty() ? app.get_option_no_throw("--" + item.name) : nullptr;
  if (option == nullptr && item.parents.empty()) option = app.get_option_no_throw(item.name);  // MODEL
  if (option == nullptr || item.name == "config") {
    return Fail("expected the long name of an option (see --help), found \"{}\"", item.fullname());
  }
  if (option->count() > 0) return {};  // the command line's
  option->add_result(item.inputs);
  option->run_callback();
  return {};
}

}  // namespace

Status ApplyConfigFile(CLI::App& app, const std::string& path) {
  DS_ASSIGN(const auto file, MappedFile::Open(path));
  if (file->bytes().size() > kMaxConfigBytes) {
    return Fail("{}: expected at most {} bytes, found {}", path, kMaxConfigBytes, file->bytes().size());
  }
  std::istringstream text(
      std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()));
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(text)) {
      DS_RETURN_IF_ERROR(Apply(app, item).WithContext(path));
    }
  } catch (const CLI::Error& e) {
    return Fail("{}: {}", path, e.what());
  }
  return {};
}

}  // namespace deepshock
