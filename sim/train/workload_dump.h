// The work of a job, operator by operator: `lastbit sim train --dump workload`.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sim/train/job.h"
#include "sim/train/phase.h"

namespace lastbit::sim::train {

// Of one micro-batch of the headline phase on one rank: every kind of unit with its operators (shape, FLOPs, bytes,
// time with all SMs and beside communication, where the time comes from) and messages, every stage with its units.
[[nodiscard]] nlohmann::json workload_json(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                           const Phase& phase);

}  // namespace lastbit::sim::train
