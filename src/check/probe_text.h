// What a probe found, in words.
#pragma once

#include <string>
#include <vector>

#include "check/probe.h"

namespace lastbit::check {

// "truncated, 32 elements of K a step, 13 fraction bits, output e8m13 truncated, c aligned with the products".
[[nodiscard]] std::string rule_text(const numerics::UnitRow& row);

// "deepgemm every 128", several with "or".
[[nodiscard]] std::string promotion_text(const std::vector<numerics::Promotion>& promotions);

// Names of the table's units with the same row.
[[nodiscard]] std::vector<std::string> known_as(const ProbeQuestion& question, const numerics::UnitRow& row);

}  // namespace lastbit::check
