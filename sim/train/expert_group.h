// A step with the ranks of one expert-parallel group simulated apart, each with the tokens that a recorded trace sends
// it: nothing is folded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/train/phase.h"

namespace lastbit::sim::train {

struct GroupReplay {
  double step_s = 0;            // with the optimiser of the folded forecast
  double folded_step_s = 0;     // every rank as busy as the mean, for comparison
  double mean_load_factor = 0;  // the busiest rank's rows over the mean, mean over layers and windows
  double worst_load_factor = 0;
  std::int64_t windows = 0;  // micro-batches that the trace holds; the step's take them in turn
  std::int64_t tokens = 0;   // of a window, over the group
  // Seconds of experts' traffic that each GPU's own links carry over the step at their attainable rates, in the busier
  // direction: [pipeline ranks][expert ranks]. Expert rank r sits in node r / n and its NIC in plane r mod n, n GPUs a
  // node.
  std::vector<std::vector<double>> nic_s;
  std::vector<std::vector<double>> nvlink_s;
  int ranks_per_node = 1;
};

// The mean over links and the busiest of them.
struct LinkSpread {
  double mean_s = 0;
  double most_s = 0;
  std::size_t pipeline_rank = 0;
  std::size_t gpu = 0;
};
[[nodiscard]] LinkSpread link_spread(const std::vector<std::vector<double>>& seconds);

// trace: a routing trace with every token's choices (docs/routing_traces.md). Its experts are cut to the model's number
// where they differ, its layers stretched over the model's. A micro-batch is as many consecutive tokens as the group
// holds; a trace with fewer is one window, scaled up. Errors (bad input): a trace of counts alone, a phase without
// experts shared by ranks.
[[nodiscard]] GroupReplay replay_group(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                       const PhaseForecast& folded, const std::string& trace, std::uint64_t seed);

}  // namespace lastbit::sim::train
