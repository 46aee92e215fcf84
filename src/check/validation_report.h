// A validation as text for a terminal, and as files: JSON for programs, JUnit XML for CI, one HTML page for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "check/validation.h"

namespace lastbit::check {

// Verdict, times, findings of the first dozen failed cases, causes and power, a line each.
[[nodiscard]] std::string validation_text(const Validation& validation);

[[nodiscard]] nlohmann::json validation_json(const Validation& validation);

// One <testsuite>, a <testcase> for every case; findings are failures, crashes and hangs errors.
[[nodiscard]] std::string validation_junit(const Validation& validation);

// Self-contained: verdict, causes, power, and for the first failed cases a map of the mismatches over each output and a
// histogram of ulps.
[[nodiscard]] std::string validation_html(const Validation& validation);

}  // namespace lastbit::check
