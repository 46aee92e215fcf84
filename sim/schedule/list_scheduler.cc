#include "sim/schedule/list_scheduler.h"

#include <algorithm>

namespace lastbit::sim::schedule {
namespace {

// One rank while the pipeline is played; times in seconds.
struct Rank {
  double free_s = 0;  // end of its last verb
  int forwards = 0;   // verbs started
  int backwards = 0;
  int weights = 0;
  std::vector<double> forward_end_s;  // [micro-batches started]
  std::vector<double> backward_end_s;
};

struct Choice {
  double start_s = kNever.s;
  Verb verb = Verb::kForward;
};

class Play {
 public:
  Play(const BuildParams& params, const ListRule& rule)
      : params_(params), rule_(rule), ranks_(static_cast<std::size_t>(params.ranks)) {
    result_.verbs.resize(ranks_.size());
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      result_.verbs[r].reserve(3 * static_cast<std::size_t>(params.micro_batches));
      ranks_[r].forward_end_s.reserve(static_cast<std::size_t>(params.micro_batches));
      ranks_[r].backward_end_s.reserve(static_cast<std::size_t>(params.micro_batches));
    }
  }

  ListPlay finish() && {
    const std::size_t verbs = 3 * ranks_.size() * static_cast<std::size_t>(params_.micro_batches);
    choices_.resize(ranks_.size());
    for (std::size_t r = 0; r < ranks_.size(); ++r) choices_[r] = choose(r);
    for (std::size_t done = 0; done < verbs; ++done) {
      std::size_t first = 0;
      for (std::size_t r = 1; r < ranks_.size(); ++r)
        if (earlier(choices_[r], choices_[first])) first = r;
      if (choices_[first].start_s == kNever.s) {
        result_.total = kNever;
        break;
      }
      start(first, choices_[first]);
      for (std::size_t r = first - std::min<std::size_t>(first, 1); r < std::min(first + 2, ranks_.size()); ++r)
        choices_[r] = choose(r);
    }
    return std::move(result_);
  }

 private:
  // At one time the verbs on which others wait come first, so that a W knows what is about to arrive.
  static bool earlier(const Choice& a, const Choice& b) {
    if (a.start_s != b.start_s) return a.start_s < b.start_s;
    return a.verb != Verb::kWeight && b.verb == Verb::kWeight;
  }

  // When the next forward's input is there, as far as it is known; the rule may still hold it back.
  [[nodiscard]] double forward_arrival(std::size_t r) const {
    const Rank& rank = ranks_[r];
    if (rank.forwards == params_.micro_batches) return kNever.s;
    if (r == 0) return 0;
    const Rank& before = ranks_[r - 1];
    const auto index = static_cast<std::size_t>(rank.forwards);
    return index < before.forward_end_s.size() ? before.forward_end_s[index] + params_.hop.s : kNever.s;
  }

  [[nodiscard]] double backward_arrival(std::size_t r) const {
    const Rank& rank = ranks_[r];
    const auto index = static_cast<std::size_t>(rank.backwards);
    if (rank.backwards == rank.forwards) return kNever.s;
    if (r + 1 == ranks_.size()) return rank.forward_end_s[index];
    const Rank& after = ranks_[r + 1];
    return index < after.backward_end_s.size() ? after.backward_end_s[index] + params_.hop.s : kNever.s;
  }

  [[nodiscard]] Choice choose(std::size_t r) const {
    const Rank& rank = ranks_[r];
    const StageTimes& times = params_.stages[r];
    const bool allowed =
        rank.forwards - rank.weights < rule_.limit[r] && rank.forwards - rank.backwards < rule_.run_ahead[r];
    const double forward_s = allowed ? std::max(rank.free_s, forward_arrival(r)) : kNever.s;
    const bool held = rule_.order == ListOrder::kAlternate && rank.forwards < params_.micro_batches &&
                      rank.forwards - rank.backwards < rule_.run_ahead[r];
    const double backward_s = held ? kNever.s : std::max(rank.free_s, backward_arrival(r));
    Choice next{backward_s, Verb::kBackwardInput};
    const bool forward_sooner =
        rule_.order == ListOrder::kForwardFirst ? forward_s <= backward_s : forward_s < backward_s;
    if (forward_sooner) next = {forward_s, Verb::kForward};
    const bool may_weight = rank.weights < rank.backwards;
    if (may_weight && next.start_s > rank.free_s &&
        next.start_s >= rank.free_s + rule_.weight_patience * times.weight.s)
      next = {rank.free_s, Verb::kWeight};
    return next;
  }

  void start(std::size_t r, const Choice& choice) {
    Rank& rank = ranks_[r];
    const StageTimes& times = params_.stages[r];
    result_.verbs[r].push_back(choice.verb);
    switch (choice.verb) {
      case Verb::kForward:
        rank.free_s = choice.start_s + times.forward.s;
        rank.forward_end_s.push_back(rank.free_s);
        ++rank.forwards;
        break;
      case Verb::kBackwardInput:
        rank.free_s = choice.start_s + (times.backward.s - times.weight.s);
        rank.backward_end_s.push_back(rank.free_s);
        ++rank.backwards;
        break;
      default:
        rank.free_s = choice.start_s + times.weight.s;
        ++rank.weights;
        break;
    }
    result_.total.s = std::max(result_.total.s, rank.free_s);
  }

  const BuildParams& params_;
  const ListRule& rule_;
  std::vector<Rank> ranks_;
  std::vector<Choice> choices_;
  ListPlay result_;
};

}  // namespace

ListPlay play(const BuildParams& params, const ListRule& rule) { return Play(params, rule).finish(); }

}  // namespace lastbit::sim::schedule
