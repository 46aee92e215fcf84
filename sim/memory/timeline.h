// Memory of a rank over a step: what verbs keep and give back.
#pragma once

#include <vector>

#include "sim/memory/activations.h"
#include "sim/schedule/execute.h"

namespace lastbit::sim::memory {

// Bytes alive from `at` on.
struct Level {
  SimTime at;
  double bytes = 0;
};

struct RankTimeline {
  std::vector<Level> levels;  // of activations, where they change
  double peak_bytes = 0;      // of activations
  SimTime peak_at;
  std::vector<int> in_flight_at_peak;  // [stages] micro-batches of each stage
};

// stage_bytes: [stages] what one micro-batch keeps of a stage, from the start of its forward to the end of its weight
// part (a full or fused backward has both).
[[nodiscard]] RankTimeline rank_timeline(const schedule::Schedule& schedule, const schedule::Execution& execution,
                                         int rank, const std::vector<double>& stage_bytes);

}  // namespace lastbit::sim::memory
