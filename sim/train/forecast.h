// The forecast of a training job: every phase, and what the run costs.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sim/cluster/cluster.h"
#include "sim/train/expert_group.h"
#include "sim/train/job.h"
#include "sim/train/link_use.h"
#include "sim/train/phase.h"
#include "sim/train/plan.h"
#include "sim/train/published.h"
#include "sim/train/uncertainty.h"

namespace lastbit::sim::train {

// What of a cluster's network a forecast does not see.
inline constexpr const char* kNetworkNote =
    "network: links at their attainable rates; layers, routing and failures are not simulated (lastbit sim network)";

struct Forecast {
  std::string model_name;
  std::vector<std::string> settings;  // "--set" values
  model::ModelConfig model;
  cluster::Cluster cluster;
  Job job;
  std::vector<PhaseForecast> phases;  // the predicted ones
  std::size_t headline = 0;           // of phases: the one with the most tokens, whose step is reported
  double tokens_per_day = 0;
  double tokens_per_gpu_s = 0;
  double flops_per_token_causal = 0;
  double flops_per_token_noncausal = 0;
  double tflops_causal = 0;  // a GPU
  double tflops_noncausal = 0;
  double mfu_causal = 0;  // of the BF16 peak
  double mfu_noncausal = 0;
  double gpu_hours_given = 0;  // not predicted
  double gpu_hours_total = 0;  // given ones included
  double usd_total = 0;
  ProfileCheck profile;  // of the calibration's chunk, as published
  double in_situ_factor = 1;
  bool fitted_efficiencies = false;  // found from training runs: data/calibration
  std::vector<std::string> calibration_sources;
  LinkUse links;  // of the headline step
  Uncertainty uncertainty;
  std::vector<Contribution> contributions;
  std::optional<GroupReplay> replay;  // asked for
  std::vector<ScalingPoint> scaling;  // asked for
  double budget_usd = 0;              // as asked for
  double budget_tokens = 0;           // of the headline phase
  double deadline_days = 0;
  std::optional<ScalingPoint> deadline;  // the fewest GPUs that keep it
  double total_flops = 0;                // causal work of the model over all predicted phases
  double hours_total = 0;                // phases one after another, given GPU-hours on all the GPUs
  double energy_j = 0;                   // GPUs at load over the GPU-hours; 0: the cluster does not say
  double bound_step_s = 0;               // every kernel and transfer at its peak, no gaps or waits; 0: not asked for
  Published published;

  [[nodiscard]] const PhaseForecast& main() const { return phases[headline]; }
  // If the headline step took so long and the other predicted phases changed in its proportion; given ones stay.
  [[nodiscard]] double gpu_hours_at(double step_s) const {
    return gpu_hours_given + (gpu_hours_total - gpu_hours_given) * step_s / main().step_s;
  }
};

struct ForecastRequest {
  std::string model;
  std::string cluster;
  std::string job;
  std::string schedule;               // replaces the job's; phases that name their own keep it
  std::vector<std::string> settings;  // "--set" values
  std::string load;                   // of experts (routing_load.h); empty: the assumption routing_load_factor
  std::string unfold;                 // a routing trace to replay, rank by rank; empty: none
  std::string kernel_times;           // CSV of kernel timings (cost/kernel_times.h)
  bool scaling = false;               // also other numbers of GPUs
  double budget_usd = 0;              // > 0: how many tokens it pays for
  double deadline_days = 0;           // > 0: how many GPUs keep it
  int samples = 64;  // draws from the assumptions' ranges; 0: neither these nor contributions of causes
  std::uint64_t seed = 1;
  bool force = false;  // a phase that does not fit the GPUs' memory is forecast all the same
};

// Loads what the request names, predicts every phase. Error(kInput) as the loaders and forecast_phase say.
[[nodiscard]] Forecast forecast_training(const ForecastRequest& request);

// What --dump workload prints: the headline phase's operators (workload_dump.h).
[[nodiscard]] nlohmann::json dump_workload(const ForecastRequest& request);

// The machine form: keys of the command's contract.
[[nodiscard]] nlohmann::json to_json(const Forecast& forecast);
// The text for people: predicted beside published, where the figures come from, what was assumed.
[[nodiscard]] std::string to_text(const Forecast& forecast);

}  // namespace lastbit::sim::train
