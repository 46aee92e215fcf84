#include "sim/network/max_min.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace lastbit::sim::network {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Residuals are kept by adding and subtracting; every so many fills all are made anew, so that rounding errors of
// 2^-53 a change cannot add up to more than 1e-13 of a capacity.
constexpr std::uint32_t kFillsBetweenRefreshes = 256;
// A link is taken to have been overtaken when it is off by more than this, relative.
constexpr double kRounding = 1e-13;
// Where a link starts in the heap, over its level of the last fill: most levels move by less from one event to the
// next.
constexpr double kGuess = 0.98;
// A bound computed from sums of weights is lowered by this much, more than those sums can be off.
constexpr double kBoundMargin = 1 - 1e-9;

}  // namespace

MaxMin::MaxMin(std::vector<double> capacity, Recorder recorder)
    : capacity_(std::move(capacity)),
      recorder_(std::move(recorder)),
      total_weight_(capacity_.size(), 0.0),
      on_link_(capacity_.size()),
      group_(capacity_.size()),
      redo_level_(kInfinity) {
  links_.reserve(capacity_.size());
  for (const double value : capacity_) links_.push_back({value, 0, 0, 0});
  clocks_.assign(capacity_.size(), {0, 0, 0, kInfinity});
}

void MaxMin::reserve(std::size_t flows, std::size_t links_of_all_routes) {
  flows_.reserve(flows);
  weight_.reserve(flows);
  begun_.reserve(flows);
  routes_.reserve(links_of_all_routes);
  for (std::vector<std::uint32_t>& list : on_link_) list.reserve(links_of_all_routes / on_link_.size());
}

std::uint32_t MaxMin::begin(const SharedFlow& flow, std::span<const std::uint32_t> route, double now_s) {
  const auto number = static_cast<std::uint32_t>(flows_.size());
  now_s_ = now_s;
  const double usage_weight = flow.count * flow.weight;
  flows_.push_back({usage_weight, flow.bytes / flow.weight, static_cast<std::uint32_t>(routes_.size()),
                    static_cast<std::uint32_t>(route.size()), kNone, State::kFrozen});
  weight_.push_back(flow.weight);
  if (recorder_) recorded_.emplace_back(0.0, now_s);
  routes_.insert(routes_.end(), route.begin(), route.end());
  for (const std::uint32_t link : route) {
    total_weight_[link] += usage_weight;
    on_link_[link].push_back(number);
  }
  begun_.push_back(number);
  return number;
}

double MaxMin::next_completion_s() {
  if (!begun_.empty() || redo_level_ < kInfinity) fill();
  return order_.empty() ? kInfinity : clocks_[order_[order_.back().first].link].finish_s;
}

void MaxMin::complete(std::vector<std::uint32_t>& done) {
  const double finish_s = next_completion_s();
  if (order_.empty()) return;
  now_s_ = std::max(now_s_, finish_s);
  const std::size_t first = order_.back().first;
  redo_level_ = order_[first].level;
  for (std::size_t position = first; position < order_.size(); ++position) {
    const std::uint32_t number = order_[position].link;
    if (clocks_[number].finish_s != finish_s) continue;
    const double level = order_[position].level;
    std::vector<std::uint32_t>& group = group_[number];
    double earliest = kInfinity;
    for (const std::uint32_t flow : group) earliest = std::min(earliest, flows_[flow].finish);
    std::erase_if(group, [&](std::uint32_t flow) {
      if (flows_[flow].finish != earliest) return false;
      if (recorder_) record(flow, 0);
      flows_[flow].state = State::kDone;
      const double usage_weight = flows_[flow].usage_weight;
      for (const std::uint32_t on : route_of(flows_[flow])) {
        total_weight_[on] -= usage_weight;
        if (on != number) links_[on].residual += usage_weight * level;
      }
      done.push_back(flow);
      return true;
    });
  }
}

// Ends the span that the recorder sees of the flow's last rate.
void MaxMin::record(std::uint32_t flow, double rate) {
  auto& [last, since_s] = recorded_[flow];
  if (last == rate) return;
  if (last > 0 && now_s_ > since_s) recorder_(flow, last, since_s, now_s_);
  last = rate;
  since_s = now_s_;
}

void MaxMin::touch(std::uint32_t number) {
  Link& link = links_[number];
  if (link.mark == fills_) return;
  link.mark = fills_;
  link.open_weight = 0;
  link.open = 0;
  touched_.push_back(number);
}

void MaxMin::fill() {
  ++fills_;
  touched_.clear();
  const std::size_t kept = first_to_redo();
  const bool guess = begun_.empty() && kept > 0;
  reopen(kept);
  open_begun();
  if (!freeze_in_order(guess)) {
    reopen(kept);
    (void)freeze_in_order(false);
  }
  for (std::size_t i = kept; i < order_.size(); ++i) {
    const std::uint32_t before = i == 0 ? 0 : order_[i - 1].first;
    const bool earlier = i == 0 || clocks_[order_[i].link].finish_s < clocks_[order_[before].link].finish_s;
    order_[i].first = earlier ? static_cast<std::uint32_t>(i) : before;
  }
}

// The position in the order from which on links are to be filled again.
std::size_t MaxMin::first_to_redo() {
  if (order_.empty() || fills_ % kFillsBetweenRefreshes == 0) return 0;
  double level = redo_level_;
  for (const std::uint32_t number : begun_)
    for (const std::uint32_t link : route_of(flows_[number]))
      level = std::min(level, capacity_[link] / total_weight_[link] * kBoundMargin);
  const auto position = std::lower_bound(order_.begin(), order_.end(), level,
                                         [](const Full& full, double least) { return full.level < least; });
  return static_cast<std::size_t>(position - order_.begin());
}

// Takes the links from `position` on out of the order and opens the flows of their groups. (Here and in freeze_flow,
// where most of the time goes, what the loops need is in local variables: the stores to links could otherwise change
// the members for all that the compiler knows.)
void MaxMin::reopen(std::size_t position) {
  for (std::size_t i = position; i < order_.size(); ++i) touch(order_[i].link);
  const std::uint32_t fill = fills_;
  Link* const links = links_.data();
  const std::uint32_t* const routes = routes_.data();
  for (std::size_t i = position; i < order_.size(); ++i) {
    const std::uint32_t own = order_[i].link;
    const double level = order_[i].level;
    double own_weight = 0;
    std::uint32_t own_open = 0;
    for (const std::uint32_t number : group_[own]) {
      Flow& flow = flows_[number];
      flow.state = State::kOpen;
      const double usage = flow.usage_weight * level;
      for (const std::uint32_t* on = routes + flow.route; on != routes + flow.route + flow.length; ++on) {
        if (*on == own) {
          own_weight += flow.usage_weight;
          ++own_open;
          continue;
        }
        Link& link = links[*on];
        if (link.mark != fill) touch(*on);
        link.residual += usage;
        link.open_weight += flow.usage_weight;
        ++link.open;
      }
    }
    links[own].open_weight += own_weight;
    links[own].open += own_open;
  }
  order_.resize(position);
  if (position == 0)  // no flow is frozen: the residuals made anew
    for (std::size_t link = 0; link < links_.size(); ++link) links_[link].residual = capacity_[link];
}

void MaxMin::open_begun() {
  for (const std::uint32_t number : begun_) {
    Flow& flow = flows_[number];
    flow.state = State::kOpen;
    for (const std::uint32_t on : route_of(flow)) {
      touch(on);
      links_[on].open_weight += flow.usage_weight;
      ++links_[on].open;
    }
  }
  begun_.clear();
  redo_level_ = kInfinity;
}

// Puts the top of the heap where it belongs; the least level, then the least link, is on top.
void MaxMin::sift_down() {
  const Candidate moved = heap_.front();
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.level != b.level ? a.level < b.level : a.link < b.link;
  };
  std::size_t hole = 0;
  for (std::size_t child = 1; child < heap_.size(); child = 2 * hole + 1) {
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], moved)) break;
    heap_[hole] = heap_[child];
    hole = child;
  }
  heap_[hole] = moved;
}

// Whether the link should have been full before what is frozen by now.
bool MaxMin::overtaken(std::uint32_t number, double reached) const {
  const Link& link = links_[number];
  if (link.open == 0) return link.residual < -kRounding * capacity_[number];
  return link.residual < reached * (1 - kRounding) * link.open_weight;
}

// The link that is full first is on top of the heap. Freezing flows elsewhere only raises the level at which a link is
// full, so what is on top may be stale and too low; it goes down again with its level of now.
//
// With `guess`, links start in the heap a little below the level of their last fill instead, from where they need not
// go down so often, and those that were not full then stay out of it. A guess may be too high, and the link be
// overtaken by one that should be full after it. That makes flows take more than there is left at its level, whatever
// freezes next, so it shows when the link comes to the top or at the end; then false is returned, with links frozen
// wrongly.
bool MaxMin::freeze_in_order(bool guess) {
  heap_.clear();
  for (const std::uint32_t number : touched_) {
    const Link& link = links_[number];
    if (link.open == 0) {
      group_[number].clear();
    } else if (!guess) {
      heap_.push_back({link.residual / link.open_weight, number});
    } else if (!group_[number].empty()) {
      heap_.push_back({std::max(link.residual / link.open_weight, kGuess * clocks_[number].level), number});
    }
  }
  std::make_heap(heap_.begin(), heap_.end(), [](const Candidate& a, const Candidate& b) {
    return a.level != b.level ? a.level > b.level : a.link > b.link;
  });
  double reached = order_.empty() ? 0 : order_.back().level;
  while (!heap_.empty()) {
    Candidate& top = heap_.front();
    const Link& link = links_[top.link];
    if (guess && overtaken(top.link, reached)) return false;
    if (link.open > 0) {
      const double level = link.residual / link.open_weight;
      if (level > top.level) {
        const std::uint32_t number = top.link;
        top.level = level;
        sift_down();
        if (heap_.front().link != number) continue;
      }
      reached = std::max(reached, level);  // rounding aside, levels never fall
      freeze_link(heap_.front().link, reached);
    } else {
      group_[top.link].clear();
    }
    heap_.front() = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sift_down();
  }
  return !guess || std::none_of(touched_.begin(), touched_.end(),
                                [&](std::uint32_t number) { return links_[number].open > 0 || overtaken(number, 0); });
}

// Sets the clock of the link's group to a new level; where the level is what it was, no bit of it moves.
void MaxMin::settle(std::uint32_t number, double level) {
  Clock& clock = clocks_[number];
  if (clock.level == level) return;
  clock.service = clock.at(now_s_);
  clock.service_s = now_s_;
  clock.level = level;
}

// Freezes every open flow of the link. Most are those of its group before; only when they are not all is the list of
// all its flows gone through.
void MaxMin::freeze_link(std::uint32_t number, double level) {
  settle(number, level);
  Link& own = links_[number];
  Clock& clock = clocks_[number];
  Freezing state{number, level, clock.at(now_s_), own.open, kInfinity};
  std::vector<std::uint32_t>& group = group_[number];
  std::size_t kept = 0;
  for (const std::uint32_t flow : group) {
    if (flows_[flow].state != State::kOpen) continue;
    group[kept++] = flow;
    freeze_flow(flow, state);
  }
  group.resize(kept);
  if (state.open > 0) {
    group.reserve(kept + state.open);
    std::erase_if(on_link_[number], [&](std::uint32_t flow) {
      if (flows_[flow].state != State::kOpen) return flows_[flow].state == State::kDone;
      freeze_flow(flow, state);
      group.push_back(flow);
      return false;
    });
  }
  own.open = 0;
  own.open_weight = 0;
  clock.finish_s = clock.service_s + (state.earliest - clock.service) / level;
  order_.push_back({level, number, 0});
}

inline void MaxMin::freeze_flow(std::uint32_t number, Freezing& on_own) {
  Flow& flow = flows_[number];
  flow.state = State::kFrozen;
  if (flow.group != on_own.link) {
    const double left = flow.group == kNone ? flow.finish : std::max(0.0, flow.finish - clocks_[flow.group].at(now_s_));
    flow.finish = on_own.clock + left;
    flow.group = on_own.link;
  }
  if (recorder_) record(number, on_own.level * weight_[number]);
  on_own.earliest = std::min(on_own.earliest, flow.finish);
  const double weight = flow.usage_weight;
  const double usage = weight * on_own.level;
  Link* const links = links_.data();
  const std::uint32_t* on = routes_.data() + flow.route;
  for (const std::uint32_t* const end = on + flow.length; on != end; ++on) {
    if (*on == on_own.link) {
      --on_own.open;
      continue;
    }
    Link& link = links[*on];
    link.residual -= usage;
    link.open_weight -= weight;
    --link.open;
  }
}

}  // namespace lastbit::sim::network
