#include "sim/network/inner_links.h"

#include <algorithm>
#include <utility>

namespace lastbit::sim::network {
namespace {

// What adding up many rates may make of a load that is just the capacity, relative.
constexpr double kLoadRounding = 1e-10;

}  // namespace

InnerLinks::InnerLinks(std::vector<double> capacity)
    : capacity_(std::move(capacity)),
      least_capacity_(capacity_.empty() ? 0 : *std::ranges::min_element(capacity_)),
      flows_on_(capacity_.size(), 0),
      on_link_(capacity_.size()) {}

void InnerLinks::begin(std::uint32_t from, std::uint32_t to) {
  if (capacity_.empty()) return;
  flows_.push_back({from, to, static_cast<std::uint32_t>(routes_.size()), false});
}

void InnerLinks::cross(std::uint32_t link) {
  routes_.push_back(link);
  on_link_[link].push_back(static_cast<std::uint32_t>(flows_.size() - 1));
  most_flows_ = std::max<std::size_t>(most_flows_, ++flows_on_[link]);
}

void InnerLinks::end(std::uint32_t flow) {
  if (capacity_.empty()) return;
  flows_[flow].ended = true;
  const std::size_t last = flow + 1 < flows_.size() ? flows_[flow + 1].first : routes_.size();
  for (std::size_t i = flows_[flow].first; i < last; ++i) --flows_on_[routes_[i]];
}

bool InnerLinks::overloaded(const CrossbarLevels& levels) {
  if (most_flows_ == 0) return false;
  add_up_highest(levels);
  if (highest_.back() <= least_capacity_) return false;
  most_flows_ = *std::ranges::max_element(flows_on_);
  for (std::uint32_t link = 0; link < capacity_.size(); ++link)
    if (highest_[flows_on_[link]] > capacity_[link] && load(levels, link) > capacity_[link] * (1 + kLoadRounding))
      return true;
  return false;
}

void InnerLinks::add_up_highest(const CrossbarLevels& levels) {
  highest_.resize(most_flows_ + 1);
  std::size_t added = 0;
  double sum = highest_[0] = 0;
  for (std::size_t place = levels.owning(); place > 0 && added < most_flows_; --place) {
    const double level = levels.highest_up_to(place - 1);
    for (double flows = levels.owned()[levels.in_order(place - 1)]; flows > 0 && added < most_flows_; --flows)
      highest_[++added] = sum += level;
  }
  std::fill(highest_.begin() + static_cast<std::ptrdiff_t>(added) + 1, highest_.end(), sum);
}

double InnerLinks::load(const CrossbarLevels& levels, std::uint32_t link) {
  std::erase_if(on_link_[link], [this](std::uint32_t flow) { return flows_[flow].ended; });
  double sum = 0;
  for (const std::uint32_t number : on_link_[link]) {
    const Flow& flow = flows_[number];
    sum += levels.level()[levels.owned_by_first(flow.from, flow.to) ? flow.from : flow.to];
  }
  return sum;
}

}  // namespace lastbit::sim::network
