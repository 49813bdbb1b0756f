// SPDX-License-Identifier: Apache-2.0
// What requests report about their experts, as JSON: the same in records of batch inference and in answers of
// the server (docs/routing.md). Pure; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "deepshock/engine.h"

namespace deepshock {

std::string ExpertName(const AnswerExperts::Expert& expert);  // "3:17": layer and expert
nlohmann::ordered_json RoutingAuditJson(const RoutingAudit& audit);
// `result`: one that has `experts`.
nlohmann::ordered_json AnswerExpertsJson(const Engine& engine, const GenerationResult& result);

}  // namespace deepshock
