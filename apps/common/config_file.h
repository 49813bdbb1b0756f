// SPDX-License-Identifier: Apache-2.0
// --config FILE: options of a command from a file, under those of the command line. Main thread only.
#pragma once

#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace deepshock {

// Gives `app`, which was parsed, the options of the file that the command line did not give. Lines are
// "name = value" with the options' long names, in TOML's form; "#" begins a comment.
Status ApplyConfigFile(CLI::App& app, const std::string& path);

}  // namespace deepshock
