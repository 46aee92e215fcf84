#include "sim/train/plan.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace lastbit::sim::train {
namespace {

constexpr std::array kFactors{0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0};

ScalingPoint at_nodes(const model::ModelConfig& model, const Job& job, const ClusterOf& cluster_of, int nodes,
                      int node_gpus, const cost::Calibration& calibration, bool force) {
  ScalingPoint point;
  point.gpus = nodes * node_gpus;
  try {
    const cost::CostModel cost(cluster_of(nodes), calibration, job.assumptions);
    double most_tokens = 0;
    for (const Phase& phase : job.phases) {
      if (phase.given_gpu_hours) {
        point.hours += *phase.given_gpu_hours / point.gpus;
        point.gpu_hours += *phase.given_gpu_hours;
        continue;
      }
      const PhaseForecast forecast = forecast_phase(model, job, cost, phase);
      if (!forecast.memory.fits() && !force) core::fail_input("{}", describe_shortage(forecast.memory));
      point.hours += forecast.hours;
      point.gpu_hours += forecast.gpu_hours;
      if (phase.tokens > most_tokens) {
        most_tokens = phase.tokens;
        point.step_s = forecast.step_s;
      }
    }
  } catch (const core::Error& error) {
    point = {point.gpus, 0, 0, 0, 0, error.what()};
  }
  return point;
}

}  // namespace

std::vector<ScalingPoint> scaling_curve(const model::ModelConfig& model, const Job& job,
                                        const cluster::Cluster& cluster, const cost::Calibration& calibration,
                                        const ClusterOf& cluster_of, bool force) {
  std::vector<ScalingPoint> curve;
  for (const double factor : kFactors) {
    const double nodes = cluster.nodes * factor;
    if (nodes < 1 || nodes != static_cast<int>(nodes)) continue;
    curve.push_back(at_nodes(model, job, cluster_of, static_cast<int>(nodes), cluster.node.gpus, calibration, force));
  }
  const ScalingPoint* first = nullptr;
  for (ScalingPoint& point : curve) {
    if (!point.refused.empty()) continue;
    if (first == nullptr) first = &point;
    point.efficiency = first->step_s * first->gpus / (point.step_s * point.gpus);
  }
  return curve;
}

double tokens_within_budget(double usd, double usd_per_gpu_hour, double other_gpu_hours, double headline_gpu_hours,
                            double headline_tokens) {
  if (usd_per_gpu_hour <= 0) core::fail_input("--budget: the job's GPU-hours cost nothing");
  const double hours = usd / usd_per_gpu_hour - other_gpu_hours;
  return std::max(0.0, hours) * headline_tokens / headline_gpu_hours;
}

std::optional<ScalingPoint> within_deadline(const std::vector<ScalingPoint>& curve, double days) {
  for (const ScalingPoint& point : curve) {
    if (point.refused.empty() && point.hours <= days * 24) return point;
  }
  return std::nullopt;
}

}  // namespace lastbit::sim::train
