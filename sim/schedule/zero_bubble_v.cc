// ZB-V: zero bubble with the memory of 1F1B. Rank r holds stages r and 2P-1-r, so that a micro-batch comes back to
// where it entered. Source: Qi, Wan, Huang, Lin, "Zero bubble pipeline parallelism", ICLR 2024, section 6, and
// "Pipeline parallelism with controllable memory", NeurIPS 2024. The handcrafted order is free of bubbles when F, the
// input gradient and W take the same time; for other durations plays of the pipeline under a family of rules compete
// with it, and the shortest that keeps the limit wins.
#include <algorithm>
#include <array>
#include <deque>

#include "core/error.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {
namespace {

constexpr std::int16_t kDown = 0;  // the rank's stage of the first half
constexpr std::int16_t kUp = 1;    // and of the second
// Plays stop after about so many steps, a look at one rank for each verb played: a second or less.
constexpr double kStepBudget = 400e6;
constexpr double kShorterV = 1e-12;

// One rank's list as it grows; verbs of a slot take the micro-batches in order, weight parts leave first in first out.
class VList {
 public:
  void forward(std::int16_t slot) { list_.push_back({Verb::kForward, {forwards_[index(slot)]++, slot}, {}}); }
  void backward(std::int16_t slot) {
    const Chunk chunk{backwards_[index(slot)]++, slot};
    list_.push_back({Verb::kBackwardInput, chunk, {}});
    deferred_.push_back(chunk);
  }
  void weight() {
    list_.push_back({Verb::kWeight, deferred_.front(), {}});
    deferred_.pop_front();
  }

  [[nodiscard]] int forwards(std::int16_t slot) const { return forwards_[index(slot)]; }
  [[nodiscard]] int backwards(std::int16_t slot) const { return backwards_[index(slot)]; }
  [[nodiscard]] std::int16_t next_weight() const { return deferred_.front().slot; }  // the slot of the next W
  [[nodiscard]] int deferred() const { return static_cast<int>(deferred_.size()); }
  // Chunks between F's start and W's end.
  [[nodiscard]] int in_flight() const {
    return forwards_[0] + forwards_[1] - backwards_[0] - backwards_[1] + deferred();
  }
  [[nodiscard]] std::vector<Op> take() && { return std::move(list_); }

 private:
  static std::size_t index(std::int16_t slot) { return static_cast<std::size_t>(slot); }

  std::array<std::int32_t, 2> forwards_{};
  std::array<std::int32_t, 2> backwards_{};
  std::deque<Chunk> deferred_;
  std::vector<Op> list_;
};

// The order of the paper's implementation, for at least 2P - 1 micro-batches; those beyond M are left out, which keeps
// every dependency and shortens the rest.
std::vector<Op> handcrafted(int ranks, int rank, int micro_batches) {
  const int planned = std::max(2 * ranks - 1, micro_batches);
  VList list;
  const auto full_backward = [&list](std::int16_t slot) {
    list.backward(slot);
    list.weight();
  };
  for (int i = 0; i < 2 * (ranks - rank) - 1; ++i) list.forward(kDown);
  for (int i = 0; i < rank; ++i) {
    list.forward(kUp);
    list.forward(kDown);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    list.forward(kUp);
    full_backward(kUp);
  }
  while (list.forwards(kUp) < list.forwards(kDown) || list.forwards(kDown) < planned) {
    if (list.forwards(kDown) < planned) list.forward(kDown);
    full_backward(kDown);
    list.forward(kUp);
    full_backward(kUp);
  }
  for (int i = 0; i < rank; ++i) {
    list.backward(kDown);
    list.backward(kUp);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    list.backward(kDown);
    list.weight();
  }
  while (list.deferred() > 0) list.weight();
  std::vector<Op> all = std::move(list).take();
  std::erase_if(all, [micro_batches](const Op& op) { return op.chunk.micro_batch >= micro_batches; });
  return all;
}

// What a rank does first among the verbs that are ready; W whenever nothing else is, or when it must make room.
struct VRule {
  std::array<Op, 4> preference;  // F and input gradient of both slots
  std::vector<int> ahead;        // [ranks] most forwards down that have none up yet
  double patience = 0;           // a W starts only if the next other verb is further away than this part of it
};

// Plays the pipeline in time under a rule.
class VPlay {
 public:
  VPlay(const BuildParams& params, const VRule& rule, int limit)
      : params_(params), rule_(rule), limit_(limit), ranks_(static_cast<std::size_t>(params.ranks)) {
    for (Rank& rank : ranks_) {
      for (auto* ends : {&rank.forward_s, &rank.backward_s})
        for (std::vector<double>& times : *ends) times.reserve(static_cast<std::size_t>(params.micro_batches));
    }
  }

  // False when the ranks come to wait for each other.
  bool run() {
    std::vector<Choice> choices(ranks_.size());
    for (std::size_t r = 0; r < ranks_.size(); ++r) choices[r] = choose(r);
    const std::size_t verbs = 6 * ranks_.size() * static_cast<std::size_t>(params_.micro_batches);
    for (std::size_t done = 0; done < verbs; ++done) {
      std::size_t first = 0;
      for (std::size_t r = 1; r < ranks_.size(); ++r)
        if (choices[r].start_s < choices[first].start_s) first = r;
      if (choices[first].start_s == kNever.s) return false;
      start(first, choices[first]);
      for (std::size_t r = first - std::min<std::size_t>(first, 1); r < std::min(first + 2, ranks_.size()); ++r)
        choices[r] = choose(r);
    }
    return true;
  }

  [[nodiscard]] double total_s() const { return total_s_; }
  std::vector<std::vector<Op>> take() && {
    std::vector<std::vector<Op>> lists;
    for (Rank& rank : ranks_) lists.push_back(std::move(rank.list).take());
    return lists;
  }

 private:
  struct Rank {
    double free_s = 0;
    VList list;
    std::array<std::vector<double>, 2> forward_s;  // [slot][micro-batch] ends
    std::array<std::vector<double>, 2> backward_s;
  };
  struct Choice {
    double start_s = kNever.s;
    Verb verb = Verb::kWeight;
    std::int16_t slot = kDown;
  };

  static double at(const std::vector<double>& ends, int micro_batch, double hop_s) {
    const auto i = static_cast<std::size_t>(micro_batch);
    return i < ends.size() ? ends[i] + hop_s : kNever.s;
  }

  [[nodiscard]] double forward_arrival(std::size_t r, std::int16_t slot) const {
    const Rank& rank = ranks_[r];
    const int next = rank.list.forwards(slot);
    if (next == params_.micro_batches) return kNever.s;
    const double hop_s = params_.hop.s;
    if (slot == kDown) return r == 0 ? 0 : at(ranks_[r - 1].forward_s[0], next, hop_s);
    return r + 1 == ranks_.size() ? at(rank.forward_s[0], next, 0) : at(ranks_[r + 1].forward_s[1], next, hop_s);
  }

  [[nodiscard]] double backward_arrival(std::size_t r, std::int16_t slot) const {
    const Rank& rank = ranks_[r];
    const int next = rank.list.backwards(slot);
    if (next == rank.list.forwards(slot)) return kNever.s;
    const double hop_s = params_.hop.s;
    if (slot == kUp) return r == 0 ? at(rank.forward_s[1], next, 0) : at(ranks_[r - 1].backward_s[1], next, hop_s);
    return r + 1 == ranks_.size() ? at(rank.backward_s[1], next, 0) : at(ranks_[r + 1].backward_s[0], next, hop_s);
  }

  [[nodiscard]] const StageTimes& times(std::size_t r, std::int16_t slot) const {
    return params_.stages[slot == kDown ? r : 2 * ranks_.size() - 1 - r];
  }

  // Forwards down leave room for one that comes up, or the pipeline would stand still.
  [[nodiscard]] bool allowed(std::size_t r, std::int16_t slot) const {
    const VList& list = ranks_[r].list;
    if (slot == kUp) return list.in_flight() < limit_;
    return list.in_flight() + 1 < limit_ && list.forwards(kDown) - list.forwards(kUp) < rule_.ahead[r];
  }

  [[nodiscard]] Choice choose(std::size_t r) const {
    const Rank& rank = ranks_[r];
    Choice best;
    for (const Op& wanted : rule_.preference) {
      const std::int16_t slot = wanted.chunk.slot;
      double ready_s = kNever.s;
      if (wanted.verb == Verb::kBackwardInput) {
        ready_s = backward_arrival(r, slot);
      } else if (allowed(r, slot)) {
        ready_s = forward_arrival(r, slot);
      }
      const double start_s = std::max(rank.free_s, ready_s);
      if (start_s < best.start_s) best = {start_s, wanted.verb, slot};
    }
    if (rank.list.deferred() == 0) return best;
    const double weight_s = times(r, kDown).weight.s;
    if (best.start_s > rank.free_s && best.start_s >= rank.free_s + rule_.patience * weight_s)
      return {rank.free_s, Verb::kWeight, kDown};
    return best;
  }

  void start(std::size_t r, const Choice& choice) {
    Rank& rank = ranks_[r];
    const auto slot = static_cast<std::size_t>(choice.slot);
    const StageTimes& stage = times(r, choice.slot);
    if (choice.verb == Verb::kForward) {
      rank.free_s = choice.start_s + stage.forward.s;
      rank.list.forward(choice.slot);
      rank.forward_s[slot].push_back(rank.free_s);
    } else if (choice.verb == Verb::kBackwardInput) {
      rank.free_s = choice.start_s + (stage.backward.s - stage.weight.s);
      rank.list.backward(choice.slot);
      rank.backward_s[slot].push_back(rank.free_s);
    } else {
      rank.free_s = choice.start_s + times(r, rank.list.next_weight()).weight.s;
      rank.list.weight();
    }
    total_s_ = std::max(total_s_, rank.free_s);
  }

  const BuildParams& params_;
  const VRule& rule_;
  int limit_;
  std::vector<Rank> ranks_;
  double total_s_ = 0;
};

class VSearch {
 public:
  VSearch(const BuildParams& params, Schedule schedule, int limit)
      : params_(params), limit_(limit), best_(std::move(schedule)) {
    for (int rank = 0; rank < params.ranks; ++rank)
      best_.order[static_cast<std::size_t>(rank)] = handcrafted(params.ranks, rank, params.micro_batches);
    const Execution execution = execute(best_, stage_costs(
                                                   params.stages, [](int, int) { return SimTime{}; }, params.hop));
    const int peak = *std::max_element(execution.peak_in_flight.begin(), execution.peak_in_flight.end());
    if (peak <= limit) total_s_ = execution.total.s;
  }

  Schedule run() && {
    try_rules();
    while (refine()) {
    }
    if (total_s_ == kNever.s)
      core::fail_input("zb-v: no order keeps {} chunks in flight on a rank, expected a limit of 2 or more", limit_);
    return std::move(best_);
  }

 private:
  bool attempt(const VRule& rule) {
    VPlay play(params_, rule, limit_);
    steps_ += steps_a_play();
    if (!play.run() || play.total_s() >= total_s_ * (1 - kShorterV)) return false;
    total_s_ = play.total_s();
    best_rule_ = rule;
    best_.order = std::move(play).take();
    return true;
  }

  [[nodiscard]] double steps_a_play() const { return 6.0 * params_.micro_batches * params_.ranks * params_.ranks; }
  // Something has been found, and no other play fits the budget.
  [[nodiscard]] bool spent(double budget) const { return total_s_ < kNever.s && steps_ + steps_a_play() > budget; }

  void try_rules() {
    const Op fd{Verb::kForward, {0, kDown}, {}};
    const Op fu{Verb::kForward, {0, kUp}, {}};
    const Op bd{Verb::kBackwardInput, {0, kDown}, {}};
    const Op bu{Verb::kBackwardInput, {0, kUp}, {}};
    const std::array<std::array<Op, 4>, 6> preferences{
        {{bu, bd, fu, fd}, {bd, bu, fu, fd}, {fu, bu, bd, fd}, {fu, fd, bu, bd}, {bu, fu, bd, fd}, {bd, fd, bu, fu}}};
    for (const std::array<Op, 4>& preference : preferences) {
      for (const int more : {0, -1, 1, 2, limit_}) {
        for (const double patience : {0.0, 0.5, 1.0}) {
          if (spent(kStepBudget)) return;
          VRule rule{preference, {}, patience};
          for (int rank = 0; rank < params_.ranks; ++rank)
            rule.ahead.push_back(std::max(1, 2 * (params_.ranks - rank) - 1 + more));
          attempt(rule);
        }
      }
    }
  }

  // One pass over the ranks, each with one forward more or less of run-ahead; true if anything helped.
  bool refine() {
    bool helped = false;
    for (std::size_t rank = 0; rank < best_rule_.ahead.size(); ++rank) {
      for (const int step : {-1, 1}) {
        if (spent(2 * kStepBudget)) return false;
        VRule rule = best_rule_;
        rule.ahead[rank] = std::max(1, rule.ahead[rank] + step);
        helped = attempt(rule) || helped;
      }
    }
    return helped;
  }

  const BuildParams& params_;
  int limit_;
  Schedule best_;
  double total_s_ = kNever.s;
  VRule best_rule_;
  double steps_ = 0;
};

}  // namespace

Schedule build_zb_v(const BuildParams& params) {
  const int ranks = params.ranks;
  check_stage_times("zb-v", params, 2 * ranks);
  Schedule schedule;
  schedule.kind = "zb-v";
  schedule.ranks = ranks;
  schedule.stages = 2 * ranks;
  schedule.slots = 2;
  schedule.micro_batches = params.micro_batches;
  schedule.activation_limit = params.activation_limit == 0 ? 2 * ranks : params.activation_limit;
  for (int rank = 0; rank < ranks; ++rank) schedule.placement.push_back({{rank, 0}, {2 * ranks - 1 - rank, 0}});
  schedule.order.resize(static_cast<std::size_t>(ranks));
  return VSearch(params, std::move(schedule), params.activation_limit == 0 ? 2 * ranks : params.activation_limit).run();
}

}  // namespace lastbit::sim::schedule
