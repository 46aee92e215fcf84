#include "sim/schedule/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace lastbit::sim::schedule {
namespace {

// What has been listed of one micro-batch in one slot of a rank.
enum class Progress : std::uint8_t { kNothing, kForward, kInputOnly, kDone };

// Follows one rank's list.
class RankCheck {
 public:
  RankCheck(const Schedule& schedule, int rank)
      : schedule_(schedule),
        rank_(rank),
        slots_(static_cast<int>(schedule.placement[static_cast<std::size_t>(rank)].size())),
        per_path_(schedule.micro_batches / schedule.paths) {
    progress_.assign(static_cast<std::size_t>(slots_) * static_cast<std::size_t>(per_path_), {});
  }

  void take(const Op& op) {
    switch (op.verb) {
      case Verb::kForward:
        return move(op, op.chunk, Progress::kNothing, Progress::kForward);
      case Verb::kBackward:
        return move(op, op.chunk, Progress::kForward, Progress::kDone);
      case Verb::kBackwardInput:
        return move(op, op.chunk, Progress::kForward, Progress::kInputOnly);
      case Verb::kWeight:
        return move(op, op.chunk, Progress::kInputOnly, Progress::kDone);
      case Verb::kFused:
        move(op, op.second, Progress::kForward, Progress::kDone);  // first: not of the forward beside it
        return move(op, op.chunk, Progress::kNothing, Progress::kForward);
    }
  }

  void expect_complete() const {
    for (std::size_t i = 0; i < progress_.size(); ++i) {
      if (progress_[i] == Progress::kDone) continue;
      const Chunk chunk{static_cast<std::int32_t>(i % static_cast<std::size_t>(per_path_)),
                        static_cast<std::int16_t>(i / static_cast<std::size_t>(per_path_))};
      core::fail_input("{} schedule, rank {}: the list lacks {} of micro-batch {}", schedule_.kind, rank_,
                       progress_[i] == Progress::kNothing   ? "the forward"
                       : progress_[i] == Progress::kForward ? "the backward"
                                                            : "the weight part",
                       chunk_label(chunk, schedule_.labels));
    }
  }

 private:
  void move(const Op& op, const Chunk& chunk, Progress from, Progress to) {
    const bool known =
        chunk.slot >= 0 && chunk.slot < slots_ && chunk.micro_batch >= 0 && chunk.micro_batch < per_path_;
    if (!known) {
      core::fail_input("{} schedule, rank {}: {} is out of range, expected slots below {} and micro-batches below {}",
                       schedule_.kind, rank_, label(op, schedule_.labels), slots_, per_path_);
    }
    Progress& state = progress_[static_cast<std::size_t>(chunk.slot) * static_cast<std::size_t>(per_path_) +
                                static_cast<std::size_t>(chunk.micro_batch)];
    if (state != from) {
      core::fail_input("{} schedule, rank {}: {} is listed twice, or before what it needs on its own rank",
                       schedule_.kind, rank_, label(op, schedule_.labels));
    }
    state = to;
  }

  const Schedule& schedule_;
  int rank_;
  int slots_;
  int per_path_;
  std::vector<Progress> progress_;  // [slots, micro-batches of a path]
};

// Every (path, stage) has one holder, so that each input has one producer.
void check_placement(const Schedule& schedule) {
  const auto stages = static_cast<std::size_t>(schedule.stages);
  std::vector<int> holders(static_cast<std::size_t>(schedule.paths) * stages, 0);
  for (const std::vector<Placement>& slots : schedule.placement) {
    for (const Placement& place : slots) {
      if (place.stage < 0 || place.stage >= schedule.stages || place.path < 0 || place.path >= schedule.paths) {
        core::fail_input("{} schedule: stage {} of path {} is held, expected stages below {} and paths below {}",
                         schedule.kind, place.stage, place.path, schedule.stages, schedule.paths);
      }
      ++holders[static_cast<std::size_t>(place.path) * stages + static_cast<std::size_t>(place.stage)];
    }
  }
  for (std::size_t i = 0; i < holders.size(); ++i) {
    if (holders[i] != 1) {
      core::fail_input("{} schedule: {} ranks hold stage {} of path {}, expected exactly one", schedule.kind,
                       holders[i], i % stages, i / stages);
    }
  }
}

}  // namespace

Schedule one_stage_a_rank(std::string kind, int ranks, int micro_batches) {
  Schedule schedule;
  schedule.kind = std::move(kind);
  schedule.ranks = ranks;
  schedule.stages = ranks;
  schedule.micro_batches = micro_batches;
  for (int rank = 0; rank < ranks; ++rank) schedule.placement.push_back({{rank, 0}});
  schedule.order.resize(static_cast<std::size_t>(ranks));
  return schedule;
}

bool has_fused(const Schedule& schedule) {
  return std::any_of(schedule.order.begin(), schedule.order.end(), [](const std::vector<Op>& list) {
    return std::any_of(list.begin(), list.end(), [](const Op& op) { return op.verb == Verb::kFused; });
  });
}

void validate(const Schedule& schedule) {
  core::check(schedule.order.size() == static_cast<std::size_t>(schedule.ranks) &&
                  schedule.placement.size() == schedule.order.size(),
              "a schedule has a list and a placement for each rank");
  check_placement(schedule);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    RankCheck check(schedule, rank);
    for (const Op& op : schedule.order[static_cast<std::size_t>(rank)]) check.take(op);
    check.expect_complete();
  }
}

}  // namespace lastbit::sim::schedule
