// SPDX-License-Identifier: Apache-2.0
// What requests report about their experts, for the terminal; runtime/routing_json.h has it as JSON.
#pragma once

#include <string>

#include "deepshock/engine.h"

namespace deepshock {

// One line: "routing: 1792 selections, 300 changed, 20 banned, 250 left out (14.0 %)".
std::string DescribeAudit(const RoutingAudit& audit);
// Bars for the groups, how their shares went along the answer, and the strongest experts; several lines.
std::string DescribeAnswerExperts(const AnswerExperts& answer);

}  // namespace deepshock
