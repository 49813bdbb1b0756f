// SPDX-License-Identifier: Apache-2.0
// `deepshock experts COMMAND`: each COMMAND lives in its own file experts_<name>.cc, adds its CLI::App to
// `experts` and returns what to run, as in commands.h. A new one is declared here and gets its line in
// experts.cc.
#pragma once

#include "apps/deepshock/commands.h"

namespace deepshock {

Command AddExpertsTraceShow(CLI::App& trace);
Command AddExpertsTraceExport(CLI::App& trace);

}  // namespace deepshock
