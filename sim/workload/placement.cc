#include "sim/workload/placement.h"

#include "core/error.h"

namespace lastbit::sim::workload {

Placement contiguous_placement(int experts, int gpus, int nodes) {
  if (experts < 1 || gpus < 1 || nodes < 1) {
    core::fail_input("placement: found {} experts, {} GPUs and {} nodes, expected at least 1 of each", experts, gpus,
                     nodes);
  }
  if (experts % gpus != 0)
    core::fail_input("placement: {} experts do not lie evenly on {} GPUs, expected a multiple", experts, gpus);
  if (gpus % nodes != 0)
    core::fail_input("placement: {} GPUs do not lie evenly on {} nodes, expected a multiple", gpus, nodes);
  Placement placement;
  placement.nodes = nodes;
  placement.gpus = gpus;
  for (std::int32_t expert = 0; expert < experts; ++expert) {
    placement.slot_expert.push_back(expert);
    placement.expert_slots.push_back({expert});
  }
  return placement;
}

std::vector<double> gpu_loads(const Placement& placement, const std::vector<double>& loads) {
  core::check(loads.size() == placement.expert_slots.size(), "a load for every expert");
  std::vector<double> sums(static_cast<std::size_t>(placement.gpus), 0);
  for (std::int32_t slot = 0; slot < placement.slots(); ++slot) {
    const auto expert = static_cast<std::size_t>(placement.slot_expert[static_cast<std::size_t>(slot)]);
    sums[static_cast<std::size_t>(placement.gpu_of(slot))] +=
        loads[expert] / static_cast<double>(placement.expert_slots[expert].size());
  }
  return sums;
}

}  // namespace lastbit::sim::workload
