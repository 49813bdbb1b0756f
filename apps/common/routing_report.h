// SPDX-License-Identifier: Apache-2.0
// What requests report about their experts, as JSON and for the terminal.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "deepshock/engine.h"

namespace deepshock {

nlohmann::ordered_json RoutingAuditJson(const RoutingAudit& audit);
// `result`: one that has `experts`.
nlohmann::ordered_json AnswerExpertsJson(const Engine& engine, const GenerationResult& result);

// One line: "routing: 1792 selections, 300 changed, 20 banned, 250 left out (14.0 %)".
std::string DescribeAudit(const RoutingAudit& audit);
// Bars for the groups, how their shares went along the answer, and the strongest experts; several lines.
std::string DescribeAnswerExperts(const AnswerExperts& answer);

}  // namespace deepshock
