// 1F1B. Source: Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM",
// SC 2021, section 2.2 (PipeDream-Flush).
#include <algorithm>

#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {

Schedule build_one_f_one_b(const BuildParams& params) {
  Schedule schedule = one_stage_a_rank("1f1b", params.ranks, params.micro_batches);
  for (int rank = 0; rank < params.ranks; ++rank) {
    std::vector<Op>& list = schedule.order[static_cast<std::size_t>(rank)];
    const int warm_up = std::min(params.ranks - rank - 1, params.micro_batches);
    int forward = 0;
    while (forward < warm_up) list.push_back({Verb::kForward, {forward++, 0}, {}});
    for (int backward = 0; backward < params.micro_batches; ++backward) {
      if (forward < params.micro_batches) list.push_back({Verb::kForward, {forward++, 0}, {}});
      list.push_back({Verb::kBackward, {backward, 0}, {}});
    }
  }
  return schedule;
}

}  // namespace lastbit::sim::schedule
