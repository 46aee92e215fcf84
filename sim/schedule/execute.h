// Executes a schedule's lists on the engine: the bubble comes out rather than goes in.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/engine/engine.h"
#include "sim/schedule/schedule.h"

namespace lastbit::sim::schedule {

// What the verbs cost. Part of a forecast's input: any stage, pair of stages and hop may differ.
struct Costs {
  // How long `op` keeps rank `rank` busy; use Schedule::at(rank, slot) for its stage.
  std::function<SimTime(const Schedule&, int rank, const Op& op)> duration;
  // From the end of a verb on one rank until its output is on the other; not asked when both are the same rank.
  // Empty: 0.
  std::function<SimTime(int from_rank, int to_rank)> hop;
  // How long an output keeps the link from one rank to the other busy, before the hop: outputs leave in the order in
  // which they were made, one after another. Empty or 0: links are never busy.
  std::function<SimTime(int from_rank, int to_rank)> transfer;
};

// Durations of one stage's verbs: F, full backward B, weight part W (input-only backward lasts B - W).
struct StageTimes {
  SimTime forward;
  SimTime backward;
  SimTime weight;
};

// Costs from a table of stages [stages], fused times by (forward stage, backward stage), and one time for all hops.
[[nodiscard]] Costs stage_costs(std::vector<StageTimes> stages,
                                std::function<SimTime(int forward_stage, int backward_stage)> fused, SimTime hop,
                                SimTime transfer = {});
// The same for every stage.
[[nodiscard]] Costs uniform_costs(const StageTimes& times, SimTime fused, SimTime hop = {}, SimTime transfer = {});

// Throws Error(kInput) unless all are from 0 to 1e100 and W is no longer than the backward that it is part of.
// `where` follows the name of what is refused (" of stage 3").
void validate(const StageTimes& times, SimTime fused, const std::string& where = "");
// The same for the time of a hop, a transfer, ...
void validate_duration(SimTime time, const std::string& what);

// Time that a rank spends in each class of verb; backward is full plus input-only.
struct VerbTimes {
  SimTime forward;
  SimTime backward;
  SimTime weight;
  SimTime fused;
};

struct TimedOp {
  Op op;
  SimTime start;
  SimTime end;
};

// A link from one rank to another, in one direction.
struct LinkUse {
  int from = 0;
  int to = 0;
  int transfers = 0;
  SimTime busy;
};

struct Execution {
  SimTime total;  // the last end of all ranks
  // [ranks]
  std::vector<SimTime> finish;      // the rank's own last end
  std::vector<SimTime> busy;        // the sum of its verbs
  std::vector<SimTime> bubble;      // total - busy
  std::vector<VerbTimes> split;     // busy by class of verb
  std::vector<int> peak_in_flight;  // most micro-batches between F's start and the end of their weight part
  std::vector<std::vector<TimedOp>> timeline;
  std::vector<LinkUse> links;  // that something was sent over, by rank and neighbour; only with Costs::transfer
};

// Rules: a rank runs its verbs strictly in the listed order; F of stage s needs F of stage s-1 of the same
// micro-batch, a backward that of stage s+1 (the last stage: its own F), W its own Bi; a fused verb starts when both
// its inputs are there and delivers both outputs at its end; an output for another rank arrives a transfer and a hop
// later. Throws Error(kInput) for lists that validate() refuses
// and for lists that deadlock, naming the verbs that wait for each other.
[[nodiscard]] Execution execute(const Schedule& schedule, const Costs& costs);

// Throws Error(kInput) if a rank had more than `limit` micro-batches in flight; 0: no limit.
void check_limit(const Execution& execution, const Schedule& schedule, int limit);

}  // namespace lastbit::sim::schedule
