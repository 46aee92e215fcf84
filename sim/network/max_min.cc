#include "sim/network/max_min.h"

#include <algorithm>
#include <limits>

namespace lastbit::sim::network {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Residuals are kept by adding and subtracting; every so many fills all are made anew, so that rounding errors of
// 2^-53 a change cannot add up to more than 1e-13 of a capacity.
constexpr std::uint32_t kFillsBetweenRefreshes = 256;
// A bound computed from sums of weights is lowered by this much, more than those sums can be off.
constexpr double kBoundMargin = 1 - 1e-9;

}  // namespace

MaxMin::MaxMin(std::vector<double> capacity, Recorder recorder)
    : capacity_(std::move(capacity)),
      recorder_(std::move(recorder)),
      total_weight_(capacity_.size(), 0.0),
      on_link_(capacity_.size()),
      redo_level_(kInfinity) {
  links_.reserve(capacity_.size());
  for (const double value : capacity_) links_.push_back({value, 0, 0, 0});
}

std::uint32_t MaxMin::begin(const SharedFlow& flow, std::span<const std::uint32_t> route, double now_s) {
  const auto number = static_cast<std::uint32_t>(flows_.size());
  now_s_ = now_s;
  flows_.push_back({flow.count * flow.weight, flow.weight, 0, flow.bytes, now_s, kInfinity,
                    static_cast<std::uint32_t>(routes_.size()), static_cast<std::uint32_t>(route.size()), false, true});
  routes_.insert(routes_.end(), route.begin(), route.end());
  for (const std::uint32_t link : route) {
    total_weight_[link] += flows_.back().usage_weight;
    on_link_[link].push_back(number);
  }
  begun_.push_back(number);
  return number;
}

double MaxMin::next_completion_s() {
  if (!begun_.empty() || redo_level_ < kInfinity) fill();
  return order_.empty() ? kInfinity : order_[order_.back().first].finish_s;
}

void MaxMin::complete(std::vector<std::uint32_t>& done) {
  const double finish_s = next_completion_s();
  if (order_.empty()) return;
  now_s_ = std::max(now_s_, finish_s);
  const std::size_t first = order_.back().first;
  const std::size_t before = done.size();
  redo_level_ = order_[first].level;
  for (std::size_t position = first; position < order_.size(); ++position) {
    if (order_[position].finish_s != finish_s) continue;
    const std::uint32_t number = order_[position].flow;
    Flow& flow = flows_[number];
    if (recorder_ && finish_s > flow.since_s) recorder_(number, flow.rate, flow.since_s, finish_s);
    flow.alive = false;
    for (const std::uint32_t link : route_of(flow)) total_weight_[link] -= flow.usage_weight;
    done.push_back(number);
  }
  std::sort(done.begin() + static_cast<std::ptrdiff_t>(before), done.end());
}

void MaxMin::touch(std::uint32_t link) {
  if (links_[link].mark == fills_) return;
  links_[link].mark = fills_;
  links_[link].open_weight = 0;  // whatever rounding left of it
  touched_.push_back(link);
}

// Takes the flows from `position` on out of the order: those alive become open, the others give up what they held.
void MaxMin::reopen(std::size_t position) {
  for (std::size_t i = position; i < order_.size(); ++i) {
    Flow& flow = flows_[order_[i].flow];
    const double usage = flow.usage_weight * order_[i].level;
    flow.open = flow.alive;
    for (const std::uint32_t number : route_of(flow)) {
      touch(number);
      Link& link = links_[number];
      link.residual += usage;
      if (!flow.alive) continue;
      link.open_weight += flow.usage_weight;
      ++link.open;
    }
  }
  order_.resize(position);
}

void MaxMin::fill() {
  ++fills_;
  touched_.clear();
  double level = redo_level_;
  for (const std::uint32_t number : begun_)
    for (const std::uint32_t link : route_of(flows_[number]))
      level = std::min(level, capacity_[link] / total_weight_[link] * kBoundMargin);
  const bool refresh = fills_ % kFillsBetweenRefreshes == 0;
  const auto position = refresh
                            ? order_.begin()
                            : std::lower_bound(order_.begin(), order_.end(), level,
                                               [](const Frozen& frozen, double least) { return frozen.level < least; });
  const auto kept = static_cast<std::size_t>(position - order_.begin());
  reopen(kept);
  if (refresh)
    for (std::size_t link = 0; link < links_.size(); ++link) links_[link].residual = capacity_[link];
  for (const std::uint32_t number : begun_) {
    Flow& flow = flows_[number];
    flow.open = true;
    for (const std::uint32_t link : route_of(flow)) {
      touch(link);
      links_[link].open_weight += flow.usage_weight;
      ++links_[link].open;
    }
  }
  begun_.clear();
  redo_level_ = kInfinity;

  // The link that is full first is on top. Freezing flows elsewhere only raises the level at which a link is full, so
  // a candidate on top may be stale and too low, never too high.
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.level != b.level ? a.level > b.level : a.link > b.link;
  };
  heap_.clear();
  for (const std::uint32_t link : touched_)
    if (links_[link].open > 0) heap_.push_back({links_[link].residual / links_[link].open_weight, link});
  std::make_heap(heap_.begin(), heap_.end(), later);
  double reached = order_.empty() ? 0 : order_.back().level;
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    Candidate& top = heap_.back();
    const Link& link = links_[top.link];
    if (link.open == 0) {
      heap_.pop_back();
      continue;
    }
    const Candidate fresh{link.residual / link.open_weight, top.link};
    if (fresh.level > top.level && heap_.size() > 1 && later(fresh, heap_.front())) {
      top = fresh;
      std::push_heap(heap_.begin(), heap_.end(), later);
      continue;
    }
    heap_.pop_back();
    reached = std::max(reached, fresh.level);  // rounding aside, levels never fall
    freeze_link(fresh.link, reached);
  }
  for (std::size_t i = kept; i < order_.size(); ++i) {
    const std::uint32_t before = i == 0 ? 0 : order_[i - 1].first;
    order_[i].first = i > 0 && order_[before].finish_s <= order_[i].finish_s ? before : static_cast<std::uint32_t>(i);
  }
}

void MaxMin::freeze_link(std::uint32_t link, double level) {
  std::vector<std::uint32_t>& flows = on_link_[link];
  std::size_t alive = 0;
  for (const std::uint32_t number : flows) {
    if (!flows_[number].alive) continue;  // drops it from the list
    flows[alive++] = number;
    if (flows_[number].open) freeze_flow(number, level);
  }
  flows.resize(alive);
}

void MaxMin::freeze_flow(std::uint32_t number, double level) {
  Flow& flow = flows_[number];
  flow.open = false;
  const double usage = flow.usage_weight * level;
  for (const std::uint32_t on : route_of(flow)) {
    Link& link = links_[on];
    link.residual -= usage;
    link.open_weight -= flow.usage_weight;
    --link.open;
  }
  change_rate(number, flow.weight * level);
  order_.push_back({level, flow.finish_s, number, 0});
}

void MaxMin::change_rate(std::uint32_t number, double rate) {
  Flow& flow = flows_[number];
  if (rate == flow.rate) return;
  if (recorder_ && now_s_ > flow.since_s && flow.rate > 0) recorder_(number, flow.rate, flow.since_s, now_s_);
  flow.remaining = std::max(0.0, flow.remaining - flow.rate * (now_s_ - flow.since_s));
  flow.since_s = now_s_;
  flow.rate = rate;
  flow.finish_s = now_s_ + flow.remaining / rate;
}

}  // namespace lastbit::sim::network
