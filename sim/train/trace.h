// The timeline of a step as a trace.
#pragma once

#include <string>

#include "sim/train/forecast.h"

namespace lastbit::sim::train {

// Writes one pipeline's ranks in one step of the headline phase, optimiser included, as Chrome trace JSON.
void write_trace(const Forecast& forecast, const std::string& path);

}  // namespace lastbit::sim::train
