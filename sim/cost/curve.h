// Measured curves of time over work.
#pragma once

#include <vector>

#include "sim/cost/provenance.h"

namespace lastbit::sim::cost {

// Time at `x` from rising measured points: straight in log-log between them, constant below the first (a kernel's
// fixed cost), in proportion to x^`growth` above the last. Never falls as x grows.
[[nodiscard]] Timed interpolate(const std::vector<double>& points, const std::vector<double>& seconds, double x,
                                double growth);

}  // namespace lastbit::sim::cost
