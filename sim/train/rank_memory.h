// Memory of every pipeline rank over a step of a training job.
#pragma once

#include <string>
#include <vector>

#include "sim/cost/cost_model.h"
#include "sim/memory/timeline.h"
#include "sim/train/layout.h"

namespace lastbit::sim::train {

inline constexpr double kGiB = 1 << 30;

struct RankMemory {
  std::vector<memory::Part> parts;  // alive at the peak, the largest first
  double held_bytes = 0;            // weights, gradients, optimiser state, buffers: the whole step
  double peak_bytes = 0;            // with the activations at their peak
  double needed_bytes = 0;          // with fragmentation and what the system keeps
  memory::RankTimeline timeline;    // of activations
};

struct JobMemory {
  std::vector<RankMemory> ranks;  // [pipeline ranks]
  double capacity_bytes = 0;
  int worst = 0;  // the rank that needs most

  [[nodiscard]] const RankMemory& peak() const { return ranks[static_cast<std::size_t>(worst)]; }
  [[nodiscard]] bool fits() const { return peak().needed_bytes <= capacity_bytes; }
};

// Parameters, gradients, masters and moments in the job's formats, shared out by ZeRO (1: masters and moments, 2:
// gradients too, 3: parameters too) over all holders of a parameter; FP8 GEMMs keep an FP8 copy of their weights
// beside. Activations are at the mean load of experts, dispatch and combine buffers at the busiest rank's.
[[nodiscard]] JobMemory job_memory(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                                   const workload::LayerSetting& setting, const std::vector<StageUnits>& stages,
                                   const schedule::Schedule& schedule, const schedule::Execution& execution,
                                   int stage_ranks);

// One line: what is needed on which rank, of what capacity, and the largest part.
[[nodiscard]] std::string describe_shortage(const JobMemory& memory);

}  // namespace lastbit::sim::train
