// ZB-H1 and ZB-H2: backward split in two, weight parts moved into what would be bubbles. Source: Qi, Wan, Huang, Lin,
// "Zero bubble pipeline parallelism", ICLR 2024. The paper places the weight parts by a heuristic or an ILP; here a
// family of rules for the list scheduler is played, the best is refined rank by rank, and the shortest play wins.
#include <algorithm>
#include <cmath>
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
    core::check(best_.total < kNever, "one of the rules always ends");
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

  // How many forwards each rank runs ahead of its backwards: 1F1B's P - r and `beyond` more, or as many more as fill
  // `share` of the time that the first backward takes to come down from the last rank.
  [[nodiscard]] std::vector<int> run_ahead(int in_flight, int beyond, double share) const {
    std::vector<int> ahead(params_.stages.size());
    double idle_s = 0;
    int more = 1 + beyond;
    for (std::size_t rank = ahead.size(); rank-- > 0; ++more) {
      const StageTimes& times = params_.stages[rank];
      const double fill = times.forward.s > 0 ? share * idle_s / times.forward.s : 0;
      // A whole number of forwards may come out a rounding error short of itself.
      const double wanted = more + std::floor(fill + 1e-9);
      ahead[rank] = static_cast<int>(std::min<double>(in_flight, wanted));
      idle_s += times.backward.s - times.weight.s + 2 * params_.hop.s;
    }
    return ahead;
  }

  // The rules that matter: how far forwards run ahead, how long a rank keeps idle for what arrives before a W would
  // end, which of F and B goes first. One micro-batch fewer in flight than allowed is better now and then.
  void try_family() {
    for (int in_flight = limit_; in_flight >= std::max(1, limit_ - 1); --in_flight) {
      for (const int beyond : {0, 1}) try_order(in_flight, run_ahead(in_flight, beyond, 0));
      for (const double share : {0.25, 0.5, 0.75, 1.0}) try_order(in_flight, run_ahead(in_flight, 0, share));
    }
  }

  void try_order(int in_flight, const std::vector<int>& ahead) {
    ListRule rule;
    rule.limit.assign(ahead.size(), in_flight);
    rule.run_ahead = ahead;
    for (const double patience : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      rule.weight_patience = patience;
      for (const ListOrder order : {ListOrder::kBackwardFirst, ListOrder::kForwardFirst, ListOrder::kAlternate}) {
        if (optimal()) return;
        rule.order = order;
        attempt(rule);
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
  check_stage_times(kind, params, params.ranks);
  const int limit = params.activation_limit == 0 ? default_limit : params.activation_limit;
  Schedule schedule = one_stage_a_rank(kind, params.ranks, params.micro_batches);
  schedule.activation_limit = limit;
  const ListPlay best = Search(params, std::min(limit, params.micro_batches)).run();
  for (int rank = 0; rank < params.ranks; ++rank) {
    std::vector<Op>& list = schedule.order[static_cast<std::size_t>(rank)];
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
