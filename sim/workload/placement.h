// Which GPU holds which expert: replicas in slots, spread evenly over GPUs, GPUs evenly over nodes.
#pragma once

#include <cstdint>
#include <vector>

namespace lastbit::sim::workload {

// One layer's experts on the ranks of an expert-parallel group. Slot s lies on GPU s / (slots / gpus), GPU g on node
// g / (gpus / nodes).
struct Placement {
  int nodes = 1;
  int gpus = 1;
  std::vector<std::int32_t> slot_expert;                // [slots] the expert whose replica the slot holds
  std::vector<std::vector<std::int32_t>> expert_slots;  // [experts][replicas] slots, the first replica first

  [[nodiscard]] std::int32_t slots() const { return static_cast<std::int32_t>(slot_expert.size()); }
  [[nodiscard]] std::int32_t experts() const { return static_cast<std::int32_t>(expert_slots.size()); }
  [[nodiscard]] std::int32_t gpu_of(std::int32_t slot) const { return slot / (slots() / gpus); }
  [[nodiscard]] std::int32_t node_of_gpu(std::int32_t gpu) const { return gpu / (gpus / nodes); }
};

// Experts in order, one replica each: GPU g holds the g-th part of them. Errors (bad input): counts below 1, experts
// that the GPUs do not divide, GPUs that the nodes do not divide.
[[nodiscard]] Placement contiguous_placement(int experts, int gpus, int nodes);

// Each GPU's load [gpus] when an expert's load is shared evenly among its replicas. loads: [experts], >= 0.
[[nodiscard]] std::vector<double> gpu_loads(const Placement& placement, const std::vector<double>& loads);

}  // namespace lastbit::sim::workload
