// The published bubbles, to be printed beside the executed ones.
#pragma once

#include <optional>
#include <string>

#include "sim/schedule/execute.h"
#include "sim/schedule/schedule.h"

namespace lastbit::sim::schedule {

struct ClosedForm {
  std::string formula;  // "(P-1)(F+B-2W)", of a chunk's durations
  SimTime bubble;
  std::string source;
};

// The bubble that the literature gives for the schedule's kind with equal stages; none for a kind without one.
// DualPipe's is met exactly when F = W = B - W and F&B = F + B; otherwise the executed bubble is smaller and, with a
// shorter F&B, differs by rank.
[[nodiscard]] std::optional<ClosedForm> closed_form(const Schedule& schedule, const StageTimes& times, SimTime fused);

}  // namespace lastbit::sim::schedule
