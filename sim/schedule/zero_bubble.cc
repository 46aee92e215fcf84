// ZB-H1 and ZB-H2: backward split in two, weight parts moved into what would be bubbles. Source: Qi, Wan, Huang, Lin,
// "Zero bubble pipeline parallelism", ICLR 2024. The paper places the weight parts by a heuristic or an ILP; here a
// family of rules for the list scheduler is played, the best is refined rank by rank, and the shortest play wins.
#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "sim/schedule/build.h"
#include "sim/schedule/list_scheduler.h"

namespace lastbit::sim::schedule {
namespace {

// The refinement stops after this many verbs have been played: about 1 s.
constexpr std::int64_t kVerbBudget = 8'000'000;
// A play must be this much shorter, relative to the total, to count: sums in another order differ by less.
constexpr double kShorter = 1e-12;

class Search {
 public:
  Search(const BuildParams& params, int limit) : params_(params), limit_(limit), bound_s_(bound_s()) {}

  ListPlay run() && {
    try_family();
    while (refine_once()) {
    }
    return std::move(best_);
  }

 private:
  // No schedule is shorter: a rank waits for the first forward to come through, then has all its work to do.
  [[nodiscard]] double bound_s() const {
    double bound = 0;
    double first_forward_s = 0;
    for (const StageTimes& times : params_.stages) {
      const double work_s = params_.micro_batches * (times.forward.s + times.backward.s);
      bound = std::max(bound, first_forward_s + work_s);
      first_forward_s += times.forward.s + params_.hop.s;
    }
    return bound;
  }

  [[nodiscard]] bool optimal() const { return found_ && best_.total.s <= bound_s_ * (1 + kShorter); }

  bool attempt(const ListRule& rule) {
    ListPlay played = play(params_, rule);
    verbs_played_ += 3 * static_cast<std::int64_t>(params_.ranks) * params_.micro_batches;
    if (found_ && played.total.s >= best_.total.s * (1 - kShorter)) return false;
    best_ = std::move(played);
    best_rule_ = rule;
    found_ = true;
    return true;
  }

  // The rules that matter: how many micro-batches in flight are used, how far forwards run ahead of 1F1B's warm-up
  // (-1: as far as the limit lets them), and how long a rank keeps idle for what arrives before a W would end.
  void try_family() {
    const auto ranks = static_cast<std::size_t>(params_.ranks);
    for (int in_flight = limit_; in_flight >= std::max(1, limit_ - 3); --in_flight) {
      for (const int beyond_1f1b : {-1, 0, 1, 2}) {
        ListRule rule;
        rule.limit.assign(ranks, in_flight);
        for (int rank = 0; rank < params_.ranks; ++rank)
          rule.run_ahead.push_back(beyond_1f1b < 0 ? in_flight
                                                   : std::min(in_flight, params_.ranks - rank + beyond_1f1b));
        try_patience(std::move(rule));
      }
    }
  }

  void try_patience(ListRule rule) {
    for (const double weight_patience : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      for (const double backward_patience : {0.0, 0.5, 1.0}) {
        for (const bool forward_first : {false, true}) {
          if (optimal()) return;
          rule.weight_patience = weight_patience;
          rule.backward_patience = backward_patience;
          rule.forward_first = forward_first;
          attempt(rule);
        }
      }
    }
  }

  // One pass over the ranks, each with one forward more or less of run-ahead or limit; true if anything helped.
  bool refine_once() {
    bool helped = false;
    for (std::size_t rank = 0; rank < best_rule_.limit.size(); ++rank) {
      for (const int step : {-1, 1}) {
        if (optimal() || verbs_played_ > kVerbBudget) return false;
        ListRule rule = best_rule_;
        rule.run_ahead[rank] = std::clamp(rule.run_ahead[rank] + step, 1, limit_);
        helped = attempt(rule) || helped;
        rule = best_rule_;
        rule.limit[rank] = std::clamp(rule.limit[rank] + step, 1, limit_);
        helped = attempt(rule) || helped;
      }
    }
    return helped;
  }

  const BuildParams& params_;
  int limit_;
  double bound_s_;
  bool found_ = false;
  ListPlay best_;
  ListRule best_rule_;
  std::int64_t verbs_played_ = 0;
};

Schedule build_zero_bubble(const BuildParams& params, const char* kind, int default_limit) {
  core::check(params.stages.size() == static_cast<std::size_t>(params.ranks),
              "zero-bubble schedules are built from one duration of each verb for every rank");
  const int limit = params.activation_limit == 0 ? default_limit : params.activation_limit;
  Schedule schedule;
  schedule.kind = kind;
  schedule.ranks = params.ranks;
  schedule.stages = params.ranks;
  schedule.micro_batches = params.micro_batches;
  schedule.activation_limit = limit;
  const ListPlay best = Search(params, std::min(limit, params.micro_batches)).run();
  for (int rank = 0; rank < params.ranks; ++rank) {
    schedule.placement.push_back({{rank, 0}});
    std::vector<Op>& list = schedule.order.emplace_back();
    int forward = 0;
    int backward = 0;
    int weight = 0;
    for (const Verb verb : best.verbs[static_cast<std::size_t>(rank)]) {
      int& next = verb == Verb::kForward ? forward : verb == Verb::kWeight ? weight : backward;
      list.push_back({verb, {next++, 0}, {}});
    }
  }
  return schedule;
}

}  // namespace

Schedule build_zb_h1(const BuildParams& params) { return build_zero_bubble(params, "zb-h1", params.ranks); }

Schedule build_zb_h2(const BuildParams& params) { return build_zero_bubble(params, "zb-h2", 2 * params.ranks); }

}  // namespace lastbit::sim::schedule
