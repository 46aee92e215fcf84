// GPipe: all forwards, then all backwards. Source: Huang et al., "GPipe", NeurIPS 2019.
#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {

Schedule build_gpipe(const BuildParams& params) {
  Schedule schedule = one_stage_a_rank("gpipe", params.ranks, params.micro_batches);
  for (int rank = 0; rank < params.ranks; ++rank) {
    std::vector<Op>& list = schedule.order[static_cast<std::size_t>(rank)];
    list.reserve(2 * static_cast<std::size_t>(params.micro_batches));
    for (int i = 0; i < params.micro_batches; ++i) list.push_back({Verb::kForward, {i, 0}, {}});
    for (int i = 0; i < params.micro_batches; ++i) list.push_back({Verb::kBackward, {i, 0}, {}});
  }
  return schedule;
}

}  // namespace lastbit::sim::schedule
