// Builds zero-bubble lists by playing the pipeline in time: whenever a rank falls free it takes the verb that a rule
// prefers among those whose inputs are there.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {

// Which of an F and a B that are both ready goes first.
enum class ListOrder : std::uint8_t {
  kBackwardFirst,
  kForwardFirst,
  kAlternate,  // 1F1B's order: a B only when run_ahead is reached or no F is left
};

// How a rank chooses. In flight counts micro-batches from F's start to W's end.
struct ListRule {
  std::vector<int> limit;      // [ranks] most micro-batches in flight
  std::vector<int> run_ahead;  // [ranks] most forwards that have no backward yet
  double weight_patience = 0;  // a W starts only if the next F or B arrives later than this part of W's duration
  ListOrder order = ListOrder::kBackwardFirst;
};

// A played pipeline: verbs [ranks][3 M] (the micro-batches of each verb are taken in order), and when all is done.
struct ListPlay {
  std::vector<std::vector<Verb>> verbs;
  SimTime total;
};

// Plays one pipeline of params.ranks stages with params.stages' durations and params.hop between them. A rule under
// which the ranks come to wait for each other gives a total of kNever.
[[nodiscard]] ListPlay play(const BuildParams& params, const ListRule& rule);

}  // namespace lastbit::sim::schedule
