#include "sim/network/flow_list.h"

#include <limits>

#include "core/error.h"

namespace lastbit::sim::network {

std::uint32_t FlowList::add(double start_s, double bytes, std::span<const std::uint32_t> route) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (links_.size() + route.size() > kMost)
    core::fail_input("{} flows: their routes pass {} links together, more than fit", bytes_.size() + 1, kMost);
  start_s_.push_back(start_s);
  bytes_.push_back(bytes);
  links_.insert(links_.end(), route.begin(), route.end());
  begin_.push_back(static_cast<std::uint32_t>(links_.size()));
  return static_cast<std::uint32_t>(bytes_.size() - 1);
}

void FlowList::reserve(std::size_t flows, std::size_t links_of_all_routes) {
  start_s_.reserve(flows);
  bytes_.reserve(flows);
  begin_.reserve(flows + 1);
  links_.reserve(links_of_all_routes);
}

double route_latency(const LinkList& links, std::span<const std::uint32_t> route) {
  double sum_s = 0;
  for (const std::uint32_t link : route) sum_s += links.latency_s[link];
  return sum_s;
}

}  // namespace lastbit::sim::network
