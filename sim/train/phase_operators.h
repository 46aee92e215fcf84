// The operators of a phase, as a list.
#pragma once

#include <vector>

#include "sim/train/phase.h"

namespace lastbit::sim::train {

// Those of one micro-batch on a rank: of each kind of unit that the model has (embedding, dense and MoE layer, head,
// MTP projection), forward, backward and weight gradient. Error(kInput): a layout that does not fit (check_layout).
[[nodiscard]] std::vector<workload::Operator> phase_operators(const model::ModelConfig& model, const Job& job,
                                                              const cost::CostModel& cost, const Phase& phase);

}  // namespace lastbit::sim::train
