// Interleaved 1F1B: each rank holds several chunks of the model. Source: Narayanan et al., "Efficient large-scale
// language model training on GPU clusters using Megatron-LM", SC 2021, section 2.2.
#include <algorithm>

#include "core/error.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {
namespace {

// The index-th chunk that a rank runs: P micro-batches through its first chunk, the same P through the next, and so
// on; backwards take the chunks from the last to the first.
Chunk nth(const BuildParams& params, int index, bool backward) {
  const int group = params.ranks * params.chunks;
  const int chunk = index % group / params.ranks;
  return {index / group * params.ranks + index % params.ranks,
          static_cast<std::int16_t>(backward ? params.chunks - 1 - chunk : chunk)};
}

}  // namespace

Schedule build_interleaved(const BuildParams& params) {
  if (params.chunks < 2) core::fail_input("interleaved needs at least 2 chunks a rank, found {}", params.chunks);
  if (params.micro_batches % params.ranks != 0) {
    core::fail_input("interleaved needs micro-batches in a multiple of the {} pipeline ranks, found {}", params.ranks,
                     params.micro_batches);
  }
  Schedule schedule;
  schedule.kind = "interleaved";
  schedule.ranks = params.ranks;
  schedule.stages = params.ranks * params.chunks;
  schedule.slots = params.chunks;
  schedule.micro_batches = params.micro_batches;
  const int all = params.micro_batches * params.chunks;
  for (int rank = 0; rank < params.ranks; ++rank) {
    std::vector<Placement>& held = schedule.placement.emplace_back();
    for (int chunk = 0; chunk < params.chunks; ++chunk) held.push_back({chunk * params.ranks + rank, 0});
    const int warm_up = std::min(2 * (params.ranks - rank - 1) + (params.chunks - 1) * params.ranks, all);
    std::vector<Op>& list = schedule.order.emplace_back();
    int forward = 0;
    while (forward < warm_up) list.push_back({Verb::kForward, nth(params, forward++, false), {}});
    for (int backward = 0; backward < all; ++backward) {
      if (forward < all) list.push_back({Verb::kForward, nth(params, forward++, false), {}});
      list.push_back({Verb::kBackward, nth(params, backward, true), {}});
    }
  }
  return schedule;
}

}  // namespace lastbit::sim::schedule
