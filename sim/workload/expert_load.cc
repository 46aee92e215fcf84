#include "sim/workload/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/philox.h"

namespace lastbit::sim::workload {

std::vector<double> uniform_loads(int experts) {
  if (experts < 1) core::fail_input("expert loads: found {} experts, expected at least 1", experts);
  return std::vector<double>(static_cast<std::size_t>(experts), 1.0 / experts);
}

std::vector<double> zipf_loads(int experts, double exponent, std::uint64_t seed) {
  constexpr double kSteepest = 100;
  if (!(exponent >= 0 && exponent <= kSteepest))
    core::fail_input("zipf loads: the exponent is {}, expected a number from 0 to {}", exponent, kSteepest);
  std::vector<double> loads = uniform_loads(experts);
  for (std::size_t i = 0; i < loads.size(); ++i) loads[i] = std::pow(static_cast<double>(i + 1), -exponent);
  const core::RandomStream stream(seed, "zipf order");
  for (std::size_t i = loads.size() - 1; i > 0; --i) {  // Fisher-Yates
    const auto j = static_cast<std::size_t>(std::uint64_t{stream.word(i)} * (i + 1) >> 32);
    std::swap(loads[i], loads[j]);
  }
  return normalized_loads(std::move(loads), "zipf loads");
}

LayerLoads trace_loads(const io::RoutingTrace& trace, const std::string& name) {
  const auto experts = static_cast<std::size_t>(trace.experts);
  LayerLoads loads(trace.layers.size(), std::vector<double>(experts, 0));
  for (std::size_t i = 0; i < trace.counts.size(); ++i)
    loads[i / experts % loads.size()][i % experts] += static_cast<double>(trace.counts[i]);
  for (std::size_t layer = 0; layer < loads.size(); ++layer)
    loads[layer] = normalized_loads(std::move(loads[layer]), name + ": layer " + std::to_string(trace.layers[layer]));
  return loads;
}

std::int64_t finer_expert(std::int64_t expert, std::int64_t part, std::int64_t parts, std::int64_t experts,
                          std::int64_t groups) {
  const std::int64_t members = experts / groups;
  return expert / members * members * parts + part * members + expert % members;
}

std::vector<double> resample_loads(const std::vector<double>& loads, int experts, int groups) {
  if (loads.empty() || groups < 1 || loads.size() % static_cast<std::size_t>(groups) != 0) {
    core::fail_input("expert loads: found {} groups, expected a number from 1 that divides the {} experts", groups,
                     loads.size());
  }
  std::vector<double> resampled = uniform_loads(experts);
  const std::size_t parts = resampled.size() / loads.size();
  if (parts * loads.size() == resampled.size()) {
    for (std::size_t i = 0; i < resampled.size(); ++i) {
      const std::int64_t finer =
          finer_expert(static_cast<std::int64_t>(i / parts), static_cast<std::int64_t>(i % parts),
                       static_cast<std::int64_t>(parts), static_cast<std::int64_t>(loads.size()), groups);
      resampled[static_cast<std::size_t>(finer)] = loads[i / parts] / static_cast<double>(parts);
    }
    return resampled;
  }
  std::fill(resampled.begin(), resampled.end(), 0);
  // In units of 1 / (old * new) every cut is a whole number.
  const std::size_t old_width = resampled.size();
  const std::size_t new_width = loads.size();
  for (std::size_t at = 0; at < old_width * new_width;) {
    const std::size_t from = at / old_width;
    const std::size_t to = at / new_width;
    const std::size_t end = std::min((from + 1) * old_width, (to + 1) * new_width);
    resampled[to] += loads[from] * static_cast<double>(end - at) / static_cast<double>(old_width);
    at = end;
  }
  return resampled;
}

std::vector<double> normalized_loads(std::vector<double> loads, const std::string& name) {
  if (loads.empty()) core::fail_input("{}: no loads, expected one for each expert", name);
  constexpr double kMostLoad = 1e300;
  double sum = 0;
  for (std::size_t e = 0; e < loads.size(); ++e) {
    if (!(loads[e] >= 0 && loads[e] <= kMostLoad / static_cast<double>(loads.size())))
      core::fail_input("{}: the load of expert {} is {}, expected a finite number of at least 0", name, e, loads[e]);
    sum += loads[e];
  }
  if (!(sum > 0)) core::fail_input("{}: all loads are 0", name);
  for (double& load : loads) load /= sum;
  return loads;
}

double load_factor(const std::vector<double>& loads) {
  const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
  if (loads.empty() || sum <= 0) return 1;
  return *std::max_element(loads.begin(), loads.end()) * static_cast<double>(loads.size()) / sum;
}

}  // namespace lastbit::sim::workload
