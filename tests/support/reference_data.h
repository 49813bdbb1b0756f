// SPDX-License-Identifier: Apache-2.0
// Where tests find the reference data, and tiny-moe unpacked from it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace deepshock {

inline std::string SharedData(const std::string& name) {
  return std::string(DEEPSHOCK_SHARED_DATA) + "/" + name;
}

// The tiny-moe checkpoint as a Hugging Face folder, unpacked once into the temporary folder; empty when the
// reference data is absent.
inline std::string TinyMoeFolder() {
  namespace fs = std::filesystem;
  const fs::path packed = SharedData("models/tiny-moe");
  if (!fs::exists(packed / "model.safetensors.xz")) return "";
  const fs::path folder = fs::path(testing::TempDir()) / "deepshock-tiny-moe";
  if (fs::exists(folder / "model.safetensors")) return folder.string();
  fs::create_directories(folder);
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
    fs::copy_file(packed / name, folder / name, fs::copy_options::overwrite_existing);
  }
  const fs::path partial = folder / ("model." + std::to_string(::getpid()) + ".partial");
  const std::string command =
      "xz -dc '" + (packed / "model.safetensors.xz").string() + "' > '" + partial.string() + "'";
  if (std::system(command.c_str()) != 0) {
    ADD_FAILURE() << "cannot unpack: " << command;
    return "";
  }
  fs::rename(partial, folder / "model.safetensors");
  return folder.string();
}

}  // namespace deepshock
