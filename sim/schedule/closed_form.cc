#include "sim/schedule/closed_form.h"

#include <algorithm>

namespace lastbit::sim::schedule {

std::optional<ClosedForm> closed_form(const Schedule& schedule, const StageTimes& times, SimTime fused) {
  const double f = times.forward.s;
  const double b = times.backward.s;
  const double w = times.weight.s;
  const double hops = schedule.ranks - 1;
  if (schedule.kind == "1f1b" || schedule.kind == "gpipe")
    return ClosedForm{"(P-1)(F+B)", {hops * (f + b)}, "DeepSeek-V3 report, table 2"};
  if (schedule.kind == "interleaved")
    return ClosedForm{"(P-1)(F+B)", {hops * (f + b)}, "Narayanan et al. 2021, section 2.2, of a chunk's F and B"};
  if (schedule.kind == "zb-h1")
    return ClosedForm{"(P-1)(F+B-2W)", {hops * (f + b - 2 * w)}, "DeepSeek-V3 report, table 2 (ZB1P)"};
  if (schedule.kind == "zb-h2") {
    return ClosedForm{"max(0, (P-1)(F+B-3W))",
                      {std::max(0.0, hops * (f + b - 3 * w))},
                      "Qi et al. 2024, table 1; each rank from its own first verb, not from time 0"};
  }
  if (schedule.kind == "zb-v" && f == w && b == 2 * w && schedule.micro_batches >= 2 * schedule.ranks) {
    return ClosedForm{"(P-1)F, for F = B-W = W and M >= 2P",
                      {hops * f},
                      "Qi et al. 2024, section 6: none from a rank's own first verb; here from time 0"};
  }
  if (schedule.kind == "dualpipe") {
    return ClosedForm{
        "(P/2-1)(F&B+B-3W)", {(schedule.ranks / 2.0 - 1) * (fused.s + b - 3 * w)}, "DeepSeek-V3 report, table 2"};
  }
  if (schedule.kind == "dualpipev") {
    return ClosedForm{"(P-1)(F&B+B-3W)",
                      {hops * (fused.s + b - 3 * w)},
                      "deepseek-ai/DualPipe, whose P counts stages: half of them are ranks"};
  }
  return std::nullopt;
}

}  // namespace lastbit::sim::schedule
