// A training forecast as a self-contained HTML page.
#pragma once

#include <string>
#include <vector>

#include "sim/train/forecast.h"

namespace lastbit::sim::train {

// One run, or two side by side: key figures beside published ones, the step's timeline, memory over time, links,
// what the step is made of and how sure it is, assumptions and sources.
[[nodiscard]] std::string to_page(const std::vector<const Forecast*>& forecasts);

}  // namespace lastbit::sim::train
