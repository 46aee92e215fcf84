#include "sim/train/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/parallel.h"
#include "core/philox.h"

namespace lastbit::sim::train {
namespace {

struct Ranged {
  std::string name;
  cost::Range range;
};

std::vector<Ranged> ranged(const cost::Assumptions& assumptions, const cluster::Cluster& cluster) {
  std::vector<Ranged> result;
  for (const cost::Assumption& entry : assumptions.entries()) {
    if (!entry.range || entry.range->low == entry.range->high) continue;
    cost::Range range = *entry.range;
    if (entry.name == "solo_compute_sms") range.high = std::min<double>(range.high, cluster.gpu.sms);
    result.push_back({entry.name, range});
  }
  return result;
}

// Values [ranges][samples].
std::vector<std::vector<double>> hypercube(const std::vector<Ranged>& ranges, int samples, std::uint64_t seed) {
  std::vector<std::vector<double>> values;
  for (const Ranged& entry : ranges) {
    const core::RandomStream random(seed, "latin hypercube", static_cast<std::uint32_t>(values.size()));
    std::uint64_t next = 0;
    std::vector<int> part(static_cast<std::size_t>(samples));
    std::iota(part.begin(), part.end(), 0);
    for (std::size_t i = part.size(); i > 1; --i) {
      std::swap(part[i - 1], part[random.word(next++) % i]);
    }
    std::vector<double>& column = values.emplace_back();
    for (const int p : part) {
      column.push_back(entry.range.low + (entry.range.high - entry.range.low) *
                                             (p + static_cast<double>(random.uniform(next++))) / samples);
    }
  }
  return values;
}

double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Uncertainty step_uncertainty(const model::ModelConfig& model, const Job& job, const cluster::Cluster& cluster,
                             const cost::Calibration& calibration, const Phase& phase, int samples,
                             std::uint64_t seed) {
  Uncertainty result;
  const std::vector<Ranged> ranges = ranged(job.assumptions, cluster);
  if (ranges.empty() || samples < 1) return result;
  result.samples = samples;
  const std::vector<std::vector<double>> values = hypercube(ranges, samples, seed);
  // The samples, then two ends of every range.
  const std::size_t runs = static_cast<std::size_t>(samples) + 2 * ranges.size();
  std::vector<double> steps(runs);
  core::parallel_for(static_cast<std::int64_t>(runs), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto run = static_cast<std::size_t>(begin); run < static_cast<std::size_t>(end); ++run) {
      cost::Assumptions moved = job.assumptions;
      if (run < static_cast<std::size_t>(samples)) {
        for (std::size_t r = 0; r < ranges.size(); ++r) moved.set(ranges[r].name, values[r][run]);
      } else {
        const std::size_t end_of_range = run - static_cast<std::size_t>(samples);
        const Ranged& entry = ranges[end_of_range / 2];
        moved.set(entry.name, end_of_range % 2 == 0 ? entry.range.low : entry.range.high);
      }
      steps[run] = forecast_phase(model, job, cost::CostModel(cluster, calibration, moved), phase).step_s;
    }
  });
  for (std::size_t r = 0; r < ranges.size(); ++r) {
    const double* ends = &steps[static_cast<std::size_t>(samples) + 2 * r];
    result.swings.push_back({ranges[r].name, ranges[r].range.low, ranges[r].range.high, ends[0], ends[1]});
  }
  std::stable_sort(result.swings.begin(), result.swings.end(), [](const auto& a, const auto& b) {
    return std::abs(a.step_at_high_s - a.step_at_low_s) > std::abs(b.step_at_high_s - b.step_at_low_s);
  });
  steps.resize(static_cast<std::size_t>(samples));
  std::sort(steps.begin(), steps.end());
  result.p5_s = percentile(steps, 0.05);
  result.p50_s = percentile(steps, 0.5);
  result.p95_s = percentile(steps, 0.95);
  return result;
}

std::vector<Contribution> step_contributions(const model::ModelConfig& model, const Job& job,
                                             const cluster::Cluster& cluster, const cost::Calibration& calibration,
                                             const Phase& phase, double step_s) {
  std::vector<double> steps(cost::kNumCauses);
  core::parallel_for(cost::kNumCauses, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto cause = static_cast<std::size_t>(begin); cause < static_cast<std::size_t>(end); ++cause) {
      const cost::CostModel cost(cluster, calibration, job.assumptions, cost::Without(static_cast<cost::Cause>(cause)));
      steps[cause] = forecast_phase(model, job, cost, phase).step_s;
    }
  });
  std::vector<Contribution> result;
  for (std::size_t cause = 0; cause < cost::kNumCauses; ++cause) {
    const double seconds = step_s - steps[cause];
    if (std::abs(seconds) >= 1e-3 * step_s) result.push_back({cost::kCauseNames[cause], seconds});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const Contribution& a, const Contribution& b) { return a.seconds > b.seconds; });
  return result;
}

}  // namespace lastbit::sim::train
