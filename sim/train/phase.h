// The forecast of one phase: a step on its layout, and how long the phase takes.
#pragma once

#include <string>
#include <vector>

#include "sim/cost/cost_model.h"
#include "sim/schedule/execute.h"
#include "sim/train/chunk.h"
#include "sim/train/optimizer_step.h"
#include "sim/train/rank_memory.h"

namespace lastbit::sim::train {

// A step of one rank; F + B + W + FB + bubble + optimizer = the step. exposed_comm is an "of which".
struct Breakdown {
  double forward_s = 0;
  double backward_s = 0;  // full and input-only
  double weight_s = 0;    // deferred weight parts
  double fused_s = 0;
  double bubble_s = 0;  // waiting, pipeline transfers included
  double optimizer_s = 0;
  double exposed_comm_s = 0;  // all-to-alls, context exchange, sharing of the NIC, gradients and parameters
};

// A stage's chunks alone, and fused with the stage that shares its rank in the steady state.
struct StageForecast {
  int layers = 0;  // MTP's included
  double forward_s = 0;
  double backward_s = 0;
  double weight_s = 0;
  double fused_s = 0;  // with itself forward and the partner backward; 0 without a partner
};

struct PhaseForecast {
  Phase phase;
  std::string schedule;
  Groups groups;
  double step_s = 0;
  double pipeline_s = 0;  // the step without the optimiser
  double steps = 0;
  double hours = 0;
  double gpu_hours = 0;
  Breakdown first;  // the first pipeline rank
  Breakdown mean;   // over pipeline ranks
  std::vector<StageForecast> stages;
  double hop_s = 0;      // a transfer between stages
  ProfileCheck profile;  // the profiled chunk put together again; zeros if the layer is not the profile's
  Census census;
  JobMemory memory;
  schedule::Schedule lists;
  schedule::Execution execution;
};

// How a layer runs in the phase: a micro-batch's tokens and how ranks share them.
[[nodiscard]] workload::LayerSetting layer_setting(const model::ModelConfig& model, const Job& job,
                                                   const cost::CostModel& cost, const Phase& phase);

// A micro-batch's activations from a pipeline rank to another: over NVLink if both lie in one node. Seconds.
[[nodiscard]] double hop_time(const cost::CostModel& cost, const Job& job, const Groups& groups,
                              const workload::LayerSetting& setting, int from, int to);
// Between neighbours.
[[nodiscard]] double slowest_hop(const cost::CostModel& cost, const Job& job, const Groups& groups,
                                 const workload::LayerSetting& setting);

// What ZeRO-2 and 3 exchange beside the chunks of a schedule of this kind.
[[nodiscard]] StepTraffic phase_traffic(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                        const std::vector<StageUnits>& stages, const std::string& schedule,
                                        const Groups& groups);

// Predicts a phase that is not given. Error(kInput): a layout that does not fit, naming the rule.
[[nodiscard]] PhaseForecast forecast_phase(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                           const Phase& phase);

}  // namespace lastbit::sim::train
