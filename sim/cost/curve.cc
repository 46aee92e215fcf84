#include "sim/cost/curve.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace lastbit::sim::cost {

Timed interpolate(const std::vector<double>& points, const std::vector<double>& seconds, double x, double growth) {
  core::check(!points.empty() && points.size() == seconds.size(), "a curve has points");
  if (x > points.back()) return {seconds.back() * std::pow(x / points.back(), growth), Provenance::kExtrapolated};
  if (x < points.front()) return {seconds.front(), Provenance::kExtrapolated};
  const auto upper = std::lower_bound(points.begin(), points.end(), x);
  const std::size_t i = static_cast<std::size_t>(upper - points.begin());
  if (points[i] == x) return {seconds[i], Provenance::kMeasured};
  const double share = std::log(x / points[i - 1]) / std::log(points[i] / points[i - 1]);
  return {seconds[i - 1] * std::pow(seconds[i] / seconds[i - 1], share), Provenance::kInterpolated};
}

}  // namespace lastbit::sim::cost
