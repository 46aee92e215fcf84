// DualPipe: micro-batches enter at both ends of the pipeline. Source: DeepSeek-V3 technical report, section 3.2.1,
// and deepseek-ai/DualPipe; the eight numbered steps are the reference's.
#include <algorithm>
#include <array>
#include <deque>

#include "core/error.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {
namespace {

constexpr int kNear = 0;  // the direction that enters from the rank's nearer end
constexpr int kFar = 1;

// Writes one rank's list. Micro-batches of a direction go forward in order, come back in order, and deferred weight
// parts leave first in first out, so counters are all the state there is.
class RankWriter {
 public:
  // slot_of_near: which slot (0 down, 1 up) the near direction has on this rank.
  explicit RankWriter(int slot_of_near)
      : slot_{static_cast<std::int16_t>(slot_of_near), static_cast<std::int16_t>(1 - slot_of_near)} {}

  void forward(int direction) { list_.push_back({Verb::kForward, next(forwards_, direction), {}}); }
  void backward(int direction) { list_.push_back({Verb::kBackward, next(backwards_, direction), {}}); }
  // Input gradient only; the weight part joins the queue.
  void backward_input(int direction) {
    const Chunk chunk = next(backwards_, direction);
    list_.push_back({Verb::kBackwardInput, chunk, {}});
    deferred_.push_back(chunk);
  }
  void weight() {
    core::check(!deferred_.empty(), "DualPipe runs a weight part only after its input gradient");
    list_.push_back({Verb::kWeight, deferred_.front(), {}});
    deferred_.pop_front();
  }
  void fused(int forward_direction, int backward_direction) {
    const Chunk chunk = next(forwards_, forward_direction);
    list_.push_back({Verb::kFused, chunk, next(backwards_, backward_direction)});
  }

  std::vector<Op> take() && { return std::move(list_); }

 private:
  using Counters = std::array<std::int32_t, 2>;

  Chunk next(Counters& counters, int direction) {
    const auto index = static_cast<std::size_t>(direction);
    return {counters[index]++, slot_[index]};
  }

  std::array<std::int16_t, 2> slot_;
  Counters forwards_{};
  Counters backwards_{};
  std::deque<Chunk> deferred_;
  std::vector<Op> list_;
};

// Steps 5 to 8: what is left when no forward of the near direction is.
void write_tail(RankWriter& rank, int inner, int depth) {
  for (int i = 0; i < inner; ++i) {  // step 5
    rank.backward(kFar);
    rank.fused(kFar, kNear);
  }
  bool deferring = false;
  for (int i = 0; i <= depth; ++i) {  // step 6: halfway through, weight parts begin to be deferred
    if (i == (depth + 1) / 2 && depth % 2 == 1) deferring = true;
    deferring ? rank.backward_input(kFar) : rank.backward(kFar);
    if (i == (depth + 1) / 2 && depth % 2 == 0) deferring = true;
    deferring ? rank.backward_input(kNear) : rank.backward(kNear);
  }
  for (int i = 0; i < inner; ++i) {  // step 7
    rank.weight();
    rank.backward_input(kNear);
  }
  for (int i = 0; i <= depth; ++i) rank.weight();  // step 8
}

// half: ranks from an end to the middle (H); depth: ranks between this one and its nearer end (h); repeats: how often
// step 4 runs; unfused_first: the middle's first pair, whose backward needs the forward just before it.
std::vector<Op> write_rank(RankWriter rank, int half, int depth, int repeats, bool unfused_first) {
  const int inner = half - depth - 1;
  for (int i = 0; i < 2 * inner; ++i) rank.forward(kNear);  // step 1
  for (int i = 0; i <= depth; ++i) {                        // step 2
    rank.forward(kNear);
    rank.forward(kFar);
  }
  for (int i = 0; i < inner; ++i) {  // step 3
    rank.backward_input(kFar);
    rank.weight();
    rank.forward(kFar);
  }
  for (int i = 0; i < repeats; ++i) {  // step 4
    if (i == 0 && unfused_first) {
      rank.forward(kNear);
      rank.backward(kFar);
    } else {
      rank.fused(kNear, kFar);
    }
    rank.fused(kFar, kNear);
  }
  write_tail(rank, inner, depth);
  return std::move(rank).take();
}

}  // namespace

Schedule build_dualpipe(const BuildParams& params) {
  const int ranks = params.ranks;
  const int micro_batches = params.micro_batches;
  if (ranks % 2 != 0) core::fail_input("dualpipe needs an even number of pipeline ranks, found {}", ranks);
  if (micro_batches % 2 != 0)
    core::fail_input("dualpipe needs an even number of micro-batches, found {}", micro_batches);
  if (micro_batches < 2 * ranks) {
    core::fail_input("dualpipe needs at least 2 micro-batches a pipeline rank: found {}, expected {} or more",
                     micro_batches, 2 * ranks);
  }
  Schedule schedule;
  schedule.kind = "dualpipe";
  schedule.labels = LabelStyle::kDirection;
  schedule.ranks = ranks;
  schedule.stages = ranks;
  schedule.slots = 2;
  schedule.paths = 2;
  schedule.micro_batches = micro_batches;
  const int half = ranks / 2;
  for (int rank = 0; rank < ranks; ++rank) {
    const int depth = std::min(rank, ranks - 1 - rank);
    schedule.placement.push_back({{rank, 0}, {ranks - 1 - rank, 1}});
    schedule.order.push_back(write_rank(RankWriter(rank < half ? 0 : 1), half, depth,
                                        micro_batches / 2 - ranks + depth + 1, depth == half - 1));
  }
  return schedule;
}

// DualPipeV: the same steps on half the ranks. Every micro-batch enters at rank 0 and turns round on the last rank:
// its first half of the stages is the near direction, its second half the far one.
Schedule build_dualpipev(const BuildParams& params) {
  const int ranks = params.ranks;
  if (params.micro_batches < 2 * ranks) {
    core::fail_input("dualpipev needs at least 2 micro-batches a pipeline rank: found {}, expected {} or more",
                     params.micro_batches, 2 * ranks);
  }
  Schedule schedule;
  schedule.kind = "dualpipev";
  schedule.labels = LabelStyle::kDirection;
  schedule.ranks = ranks;
  schedule.stages = 2 * ranks;
  schedule.slots = 2;
  schedule.micro_batches = params.micro_batches;
  for (int rank = 0; rank < ranks; ++rank) {
    schedule.placement.push_back({{rank, 0}, {2 * ranks - 1 - rank, 0}});
    schedule.order.push_back(
        write_rank(RankWriter(0), ranks, rank, params.micro_batches - 2 * ranks + rank + 1, rank == ranks - 1));
  }
  return schedule;
}

}  // namespace lastbit::sim::schedule
