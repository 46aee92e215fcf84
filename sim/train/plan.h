// What follows from a forecast for people who plan: other numbers of GPUs, a budget, a deadline.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/train/phase.h"

namespace lastbit::sim::train {

// The headline step on another number of GPUs: more or fewer pipelines, the same batch.
struct ScalingPoint {
  int gpus = 0;
  double step_s = 0;
  double hours = 0;  // of all phases one after another, given GPU-hours on all the GPUs
  double gpu_hours = 0;
  double efficiency = 0;  // tokens/s a GPU over those of the smallest number in the list
  std::string refused;    // why the layout does not go there; the figures are 0 then
};

using ClusterOf = std::function<cluster::Cluster(int nodes)>;

// An eighth to eight times the nodes, in doublings. cluster_of: the cluster with that many nodes; one that cannot be
// built throws Error(kInput), which refuses the point. force: go on where a GPU's memory does not suffice.
[[nodiscard]] std::vector<ScalingPoint> scaling_curve(const model::ModelConfig& model, const Job& job,
                                                      const cluster::Cluster& cluster,
                                                      const cost::Calibration& calibration, const ClusterOf& cluster_of,
                                                      bool force = false);

// Within `usd`: tokens of the headline phase at the forecast's rate, once what else costs is paid; 0 if nothing is
// left.
[[nodiscard]] double tokens_within_budget(double usd, double usd_per_gpu_hour, double other_gpu_hours,
                                          double headline_gpu_hours, double headline_tokens);

// The fewest GPUs of the curve that end within `days`; nothing if none does.
[[nodiscard]] std::optional<ScalingPoint> within_deadline(const std::vector<ScalingPoint>& curve, double days);

}  // namespace lastbit::sim::train
