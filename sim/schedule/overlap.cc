#include "sim/schedule/overlap.h"

#include <optional>
#include <utility>

#include "sim/engine/engine.h"

namespace lastbit::sim::schedule {
namespace {

using engine::TaskId;
using workload::Segment;
using workload::TransferKind;

// The last step of a direction's data, by its task on the first rank: what comes next waits for it.
using Flow = std::optional<TaskId>;

// One unit as each rank of the group has it.
using RankTimes = std::vector<const UnitTimes*>;

// Two streams a rank. A step is a task on each rank, numbered one after another.
class ChunkProgram {
 public:
  explicit ChunkProgram(std::size_t ranks) : ranks_(ranks), busy_s_(ranks, 0) {
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      streams_.push_back({graph_.add_stream("compute"), graph_.add_stream("communication")});
    }
    if (ranks > 1) meeting_ = graph_.add_stream("meeting");
  }

  // Appends to the compute streams; `gathers` of `seconds` is communication that nothing hides.
  template <typename Seconds, typename Gathers>
  Flow compute(const Seconds& seconds, Flow after, const char* name, bool of_backward, const Gathers& gathers) {
    for (std::size_t rank = 0; rank < ranks_; ++rank) busy_s_[rank] += seconds(rank) - gathers(rank);
    return append(false, seconds, after, name, of_backward);
  }
  template <typename Seconds>
  Flow communicate(const Seconds& seconds, Flow after, const char* name, bool of_backward) {
    result_.communication.s += seconds(0);
    if (ranks_ > 1) after = meet(after);
    const Flow step = append(true, seconds, after, name, of_backward);
    last_transfer_ = step;
    return step;
  }

  [[nodiscard]] ChunkRun run() && {
    const engine::Timeline times = engine::run(graph_);
    result_.total = times.total;
    double busy_s = 0;
    for (const double seconds : busy_s_) busy_s += seconds;
    result_.compute.s = busy_s / static_cast<double>(ranks_);
    for (std::size_t step = 0; step < result_.spans.size(); ++step) {
      result_.spans[step].start = times.start[first_rank_[step].index];
      result_.spans[step].end = times.end[first_rank_[step].index];
    }
    return std::move(result_);
  }

 private:
  struct RankStreams {
    engine::StreamId compute;
    engine::StreamId communication;
  };

  static TaskId on_rank(TaskId first, std::size_t rank) { return {first.index + static_cast<std::uint32_t>(rank)}; }

  template <typename Seconds>
  Flow append(bool communication, const Seconds& seconds, Flow after, const char* name, bool of_backward) {
    const engine::LabelId label = graph_.add_label(name);
    // After a meeting there is one task to wait for, not one a rank.
    const bool met = after && meeting_task_ == after;
    TaskId first;
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      const RankStreams& own = streams_[rank];
      const TaskId task = graph_.add_task(communication ? own.communication : own.compute, {seconds(rank)}, label);
      if (rank == 0) first = task;
      if (after) graph_.add_dependency(task, met ? *after : on_rank(*after, rank));
    }
    first_rank_.push_back(first);
    result_.spans.push_back({communication, name, of_backward, {}, {}});
    return first;
  }

  // An all-to-all begins when every rank has come to it: its data are there and its stream is free.
  Flow meet(Flow after) {
    const TaskId task = graph_.add_task(meeting_, {}, graph_.add_label("meeting"));
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      if (after) graph_.add_dependency(task, on_rank(*after, rank));
      if (last_transfer_) graph_.add_dependency(task, on_rank(*last_transfer_, rank));
    }
    meeting_task_ = task;
    return task;
  }

  engine::TaskGraph graph_;
  std::size_t ranks_;
  std::vector<RankStreams> streams_;
  engine::StreamId meeting_;
  Flow meeting_task_;
  Flow last_transfer_;
  std::vector<double> busy_s_;      // [ranks]
  std::vector<TaskId> first_rank_;  // [steps] the step's task on the first rank
  ChunkRun result_;
};

bool of_backward(Segment which) { return which != Segment::kAttentionForward && which != Segment::kMlpForward; }
bool of_backward(TransferKind which) {
  return which == TransferKind::kDispatchBackward || which == TransferKind::kCombineBackward;
}

Flow end(ChunkProgram& program, const RankTimes& unit, double UnitTimes::*pass, Flow after, const char* name) {
  return program.compute([&](std::size_t rank) { return unit[rank]->*pass; }, after, name, pass != &UnitTimes::forward,
                         [](std::size_t) { return 0.0; });
}

Flow segment(ChunkProgram& program, const RankTimes& unit, Segment which, Flow after) {
  const auto i = static_cast<std::size_t>(which);
  return program.compute([&](std::size_t rank) { return unit[rank]->segments[i]; }, after,
                         workload::segment_name(which), of_backward(which),
                         [&](std::size_t rank) { return unit[rank]->gathers[i]; });
}

Flow transfer(ChunkProgram& program, const RankTimes& unit, TransferKind which, Flow after) {
  if (!unit[0]->communicates) return after;
  const auto i = static_cast<std::size_t>(which);
  return program.communicate([&](std::size_t rank) { return unit[rank]->transfers[i]; }, after,
                             workload::transfer_name(which), of_backward(which));
}

Flow forward_unit(ChunkProgram& program, const RankTimes& unit, Flow flow) {
  if (!unit[0]->layer) return end(program, unit, &UnitTimes::forward, flow, "forward");
  flow = segment(program, unit, Segment::kAttentionForward, flow);
  flow = transfer(program, unit, TransferKind::kDispatchForward, flow);
  flow = segment(program, unit, Segment::kMlpForward, flow);
  return transfer(program, unit, TransferKind::kCombineForward, flow);
}

// `weights`: the unit whose times the weight gradients take, beside communication; null: they are deferred.
Flow backward_unit(ChunkProgram& program, const RankTimes& unit, const RankTimes* weights, Flow flow) {
  if (!unit[0]->layer) {
    flow = end(program, unit, &UnitTimes::backward, flow, "backward");
    if (weights != nullptr) end(program, *weights, &UnitTimes::weight, flow, "weight");
    return flow;
  }
  flow = transfer(program, unit, TransferKind::kDispatchBackward, flow);
  flow = segment(program, unit, Segment::kMlpBackward, flow);
  const Flow mlp = flow;
  flow = transfer(program, unit, TransferKind::kCombineBackward, flow);
  if (weights != nullptr) segment(program, *weights, Segment::kMlpWeight, mlp);
  flow = segment(program, unit, Segment::kAttentionBackward, flow);
  if (weights != nullptr) segment(program, *weights, Segment::kAttentionWeight, flow);
  return flow;
}

// A forward and a backward layer interleaved: see run_fused().
void fused_pair(ChunkProgram& program, const RankTimes& f, const RankTimes& b, Flow& forward, Flow& backward) {
  const Flow gradient = transfer(program, b, TransferKind::kDispatchBackward, backward);
  forward = segment(program, f, Segment::kAttentionForward, forward);
  forward = transfer(program, f, TransferKind::kDispatchForward, forward);
  const Flow mlp = segment(program, b, Segment::kMlpBackward, gradient);
  backward = transfer(program, b, TransferKind::kCombineBackward, mlp);
  segment(program, b, Segment::kMlpWeight, mlp);
  forward = segment(program, f, Segment::kMlpForward, forward);
  forward = transfer(program, f, TransferKind::kCombineForward, forward);
  backward = segment(program, b, Segment::kAttentionBackward, backward);
  segment(program, b, Segment::kAttentionWeight, backward);
}

// Unit `index` of a stage on every rank, in one of its two settings.
RankTimes times_of(const Group& group, std::size_t index, UnitTimes Unit::*setting) {
  RankTimes times;
  for (const Units* units : group) times.push_back(&((*units)[index].*setting));
  return times;
}

}  // namespace

ChunkRun run_forward(const Group& group) {
  ChunkProgram program(group.size());
  Flow flow;
  for (std::size_t i = 0; i < group[0]->size(); ++i) {
    flow = forward_unit(program, times_of(group, i, &Unit::alone), flow);
  }
  return std::move(program).run();
}

ChunkRun run_backward(const Group& group) {
  ChunkProgram program(group.size());
  Flow flow;
  for (std::size_t i = group[0]->size(); i-- > 0;) {
    const RankTimes weights = times_of(group, i, &Unit::beside);
    flow = backward_unit(program, times_of(group, i, &Unit::alone), &weights, flow);
  }
  return std::move(program).run();
}

ChunkRun run_backward_input(const Group& group) {
  ChunkProgram program(group.size());
  Flow flow;
  for (std::size_t i = group[0]->size(); i-- > 0;) {
    flow = backward_unit(program, times_of(group, i, &Unit::alone), nullptr, flow);
  }
  return std::move(program).run();
}

ChunkRun run_weight(const Group& group) {
  ChunkProgram program(group.size());
  for (std::size_t i = 0; i < group[0]->size(); ++i) {
    const RankTimes unit = times_of(group, i, &Unit::alone);
    if (unit[0]->layer) {
      segment(program, unit, Segment::kMlpWeight, {});
      segment(program, unit, Segment::kAttentionWeight, {});
    } else {
      end(program, unit, &UnitTimes::weight, {}, "weight");
    }
  }
  return std::move(program).run();
}

ChunkRun run_fused(const Group& forward_group, const Group& backward_group) {
  ChunkProgram program(forward_group.size());
  Flow forward;
  Flow backward;
  std::size_t f = 0;                          // the next forward unit
  std::size_t b = backward_group[0]->size();  // one past the next backward unit
  while (f < forward_group[0]->size() || b > 0) {
    const bool has_f = f < forward_group[0]->size();
    const bool has_b = b > 0;
    if (has_b && !(*backward_group[0])[b - 1].beside.layer) {
      const RankTimes unit = times_of(backward_group, --b, &Unit::beside);
      backward = backward_unit(program, unit, &unit, backward);
    } else if (has_f && !(*forward_group[0])[f].beside.layer) {
      forward = forward_unit(program, times_of(forward_group, f++, &Unit::beside), forward);
    } else if (has_f && has_b) {
      const RankTimes unit = times_of(backward_group, --b, &Unit::beside);
      fused_pair(program, times_of(forward_group, f++, &Unit::beside), unit, forward, backward);
    } else if (has_f) {
      forward = forward_unit(program, times_of(forward_group, f++, &Unit::alone), forward);
    } else {
      const RankTimes weights = times_of(backward_group, --b, &Unit::beside);
      backward = backward_unit(program, times_of(backward_group, b, &Unit::alone), &weights, backward);
    }
  }
  return std::move(program).run();
}

ChunkRun run_forward(const Units& units) { return run_forward(Group{&units}); }
ChunkRun run_backward(const Units& units) { return run_backward(Group{&units}); }
ChunkRun run_backward_input(const Units& units) { return run_backward_input(Group{&units}); }
ChunkRun run_weight(const Units& units) { return run_weight(Group{&units}); }
ChunkRun run_fused(const Units& forward_units, const Units& backward_units) {
  return run_fused(Group{&forward_units}, Group{&backward_units});
}

const ChunkRun& ChunkTimes::at(Verb verb, int stage, int second) {
  const auto key = std::make_tuple(verb, stage, second);
  const auto found = runs_.find(key);
  if (found != runs_.end()) return found->second;
  const Units& units = stages_.at(static_cast<std::size_t>(stage));
  switch (verb) {
    case Verb::kForward:
      return runs_[key] = run_forward(units);
    case Verb::kBackward:
      return runs_[key] = run_backward(units);
    case Verb::kBackwardInput:
      return runs_[key] = run_backward_input(units);
    case Verb::kWeight:
      return runs_[key] = run_weight(units);
    case Verb::kFused:
      break;
  }
  return runs_[key] = run_fused(units, stages_.at(static_cast<std::size_t>(second)));
}

Costs chunk_costs(ChunkTimes& chunks, SimTime hop, SimTime transfer) {
  Costs costs;
  costs.duration = [&chunks](const Schedule& schedule, int rank, const Op& op) {
    const int second = op.verb == Verb::kFused ? schedule.at(rank, op.second.slot).stage : -1;
    return chunks.at(op.verb, schedule.at(rank, op.chunk.slot).stage, second).total;
  };
  costs.hop = [hop](int, int) { return hop; };
  costs.transfer = [transfer](int, int) { return transfer; };
  return costs;
}

}  // namespace lastbit::sim::schedule
