#include "sim/schedule/execute.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace lastbit::sim::schedule {
namespace {

using engine::TaskId;

// The task that computes each forward and each input gradient, by (path, stage, micro-batch).
class Producers {
 public:
  explicit Producers(const Schedule& schedule)
      : stages_(static_cast<std::size_t>(schedule.stages)),
        per_path_(static_cast<std::size_t>(schedule.micro_batches / schedule.paths)),
        made_(static_cast<std::size_t>(schedule.paths) * stages_ * per_path_) {}

  struct Made {
    TaskId forward;
    TaskId backward;
    int rank = -1;
  };
  Made& at(int path, int stage, int micro_batch) {
    return made_[(static_cast<std::size_t>(path) * stages_ + static_cast<std::size_t>(stage)) * per_path_ +
                 static_cast<std::size_t>(micro_batch)];
  }

 private:
  std::size_t stages_;
  std::size_t per_path_;
  std::vector<Made> made_;
};

bool has_forward(Verb verb) { return verb == Verb::kForward || verb == Verb::kFused; }
bool has_backward(Verb verb) { return verb == Verb::kBackward || verb == Verb::kBackwardInput || verb == Verb::kFused; }
bool frees_activation(Verb verb) { return verb == Verb::kBackward || verb == Verb::kWeight || verb == Verb::kFused; }
const Chunk& backward_chunk(const Op& op) { return op.verb == Verb::kFused ? op.second : op.chunk; }

// Builds the task graph of a schedule; task numbers run through the ranks' lists one after another.
class Builder {
 public:
  Builder(const Schedule& schedule, const Costs& costs) : schedule_(schedule), costs_(costs), producers_(schedule) {
    std::size_t verbs = 0;
    for (const std::vector<Op>& list : schedule.order) verbs += list.size();
    graph_.reserve(verbs, 2 * verbs);
  }

  engine::TaskGraph build() && {
    for (int rank = 0; rank < schedule_.ranks; ++rank) add_rank(rank);
    std::uint32_t task = 0;
    for (int rank = 0; rank < schedule_.ranks; ++rank)
      for (const Op& op : list(rank)) connect(rank, op, {task++});
    return std::move(graph_);
  }

 private:
  [[nodiscard]] const std::vector<Op>& list(int rank) const { return schedule_.order[static_cast<std::size_t>(rank)]; }

  void add_rank(int rank) {
    const engine::StreamId stream = graph_.add_stream("rank " + std::to_string(rank));
    for (const Op& op : list(rank)) {
      const engine::LabelId name = graph_.add_label(label(op, schedule_.labels));
      const TaskId task = graph_.add_task(stream, costs_.duration(schedule_, rank, op), name);
      if (has_forward(op.verb)) {
        Producers::Made& made = produced(rank, op.chunk);
        made.forward = task;
        made.rank = rank;
      }
      if (has_backward(op.verb)) produced(rank, backward_chunk(op)).backward = task;
    }
  }

  Producers::Made& produced(int rank, const Chunk& chunk) {
    const Placement& place = schedule_.at(rank, chunk.slot);
    return producers_.at(place.path, place.stage, chunk.micro_batch);
  }

  void connect(int rank, const Op& op, TaskId task) {
    if (has_forward(op.verb)) {
      const Placement& place = schedule_.at(rank, op.chunk.slot);
      if (place.stage > 0) {
        const Producers::Made& from = producers_.at(place.path, place.stage - 1, op.chunk.micro_batch);
        graph_.add_dependency(task, from.forward, hop(from.rank, rank));
      }
    }
    if (!has_backward(op.verb)) return;  // W waits for its Bi by its place in the list, which validate() has seen
    const Chunk& chunk = backward_chunk(op);
    const Placement& place = schedule_.at(rank, chunk.slot);
    if (place.stage + 1 < schedule_.stages) {
      const Producers::Made& from = producers_.at(place.path, place.stage + 1, chunk.micro_batch);
      graph_.add_dependency(task, from.backward, hop(from.rank, rank));
    }
  }

  [[nodiscard]] SimTime hop(int from, int to) const {
    return from == to || !costs_.hop ? SimTime{} : costs_.hop(from, to);
  }

  const Schedule& schedule_;
  const Costs& costs_;
  Producers producers_;
  engine::TaskGraph graph_;
};

void add_to(VerbTimes& split, Verb verb, SimTime time) {
  switch (verb) {
    case Verb::kForward:
      split.forward += time;
      break;
    case Verb::kBackward:
    case Verb::kBackwardInput:
      split.backward += time;
      break;
    case Verb::kWeight:
      split.weight += time;
      break;
    case Verb::kFused:
      split.fused += time;
      break;
  }
}

SimTime duration(const StageTimes& times, Verb verb, SimTime fused) {
  switch (verb) {
    case Verb::kForward:
      return times.forward;
    case Verb::kBackward:
      return times.backward;
    case Verb::kBackwardInput:
      return times.backward - times.weight;
    case Verb::kWeight:
      return times.weight;
    case Verb::kFused:
      return fused;
  }
  return {};
}

constexpr double kLongest = 1e100;  // of any unit of time; sums of the most verbs that build() allows stay finite

// Every (path, stage) has one holder, so that each input has one producer.
void check_placement(const Schedule& schedule) {
  const auto stages = static_cast<std::size_t>(schedule.stages);
  std::vector<int> holders(static_cast<std::size_t>(schedule.paths) * stages, 0);
  for (const std::vector<Placement>& slots : schedule.placement)
    for (const Placement& place : slots)
      ++holders.at(static_cast<std::size_t>(place.path) * stages + static_cast<std::size_t>(place.stage));
  core::check(std::all_of(holders.begin(), holders.end(), [](int count) { return count == 1; }),
              "each stage of each path is held by exactly one rank");
}

}  // namespace

Costs stage_costs(std::vector<StageTimes> stages, std::function<SimTime(int, int)> fused, SimTime hop) {
  Costs costs;
  costs.duration = [stages = std::move(stages), fused = std::move(fused)](const Schedule& schedule, int rank,
                                                                          const Op& op) -> SimTime {
    const int stage = schedule.at(rank, op.chunk.slot).stage;
    const SimTime both = op.verb == Verb::kFused ? fused(stage, schedule.at(rank, op.second.slot).stage) : SimTime{};
    return duration(stages.at(static_cast<std::size_t>(stage)), op.verb, both);
  };
  costs.hop = [hop](int, int) { return hop; };
  return costs;
}

Costs uniform_costs(const StageTimes& times, SimTime fused, SimTime hop) {
  Costs costs;
  costs.duration = [times, fused](const Schedule&, int, const Op& op) { return duration(times, op.verb, fused); };
  costs.hop = [hop](int, int) { return hop; };
  return costs;
}

void validate(const StageTimes& times, SimTime fused, SimTime hop) {
  const std::pair<const char*, SimTime> all[] = {
      {"F", times.forward}, {"B", times.backward}, {"W", times.weight}, {"F&B", fused}, {"the time of a hop", hop}};
  for (const auto& [name, time] : all)
    if (!(time.s >= 0 && time.s <= kLongest))
      core::fail_input("durations: {} is {}, expected a number from 0 to {}", name, time.s, kLongest);
  if (times.weight > times.backward) {
    core::fail_input("durations: W is {}, expected at most B, {}: W is part of the full backward", times.weight.s,
                     times.backward.s);
  }
}

Execution execute(const Schedule& schedule, const Costs& costs) {
  validate(schedule);
  check_placement(schedule);
  const engine::TaskGraph graph = Builder(schedule, costs).build();
  const engine::Timeline times = engine::run(graph);
  Execution result;
  result.total = times.total;
  std::size_t task = 0;
  for (const std::vector<Op>& list : schedule.order) {
    std::vector<TimedOp> timeline;
    timeline.reserve(list.size());
    SimTime finish;
    SimTime busy;
    VerbTimes split;
    int in_flight = 0;
    int peak = 0;
    for (const Op& op : list) {
      const SimTime duration{graph.tasks()[task].duration_s};
      timeline.push_back({op, times.start[task], times.end[task]});
      finish = times.end[task++];
      busy += duration;
      add_to(split, op.verb, duration);
      if (has_forward(op.verb)) peak = std::max(peak, ++in_flight);
      if (frees_activation(op.verb)) --in_flight;
    }
    result.finish.push_back(finish);
    result.busy.push_back(busy);
    result.bubble.push_back(times.total - busy);
    result.split.push_back(split);
    result.peak_in_flight.push_back(peak);
    result.timeline.push_back(std::move(timeline));
  }
  return result;
}

void check_limit(const Execution& execution, const Schedule& schedule, int limit) {
  if (limit == 0) return;
  for (std::size_t rank = 0; rank < execution.peak_in_flight.size(); ++rank) {
    if (execution.peak_in_flight[rank] > limit) {
      core::fail_input("{} has {} micro-batches in flight on rank {}, more than the activation limit of {}",
                       schedule.kind, execution.peak_in_flight[rank], rank, limit);
    }
  }
}

}  // namespace lastbit::sim::schedule
