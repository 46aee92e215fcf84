#include "sim/network/progressive_filling.h"

#include <algorithm>
#include <limits>

namespace lastbit::sim::network {
namespace {

// Rates of the flows in `active`: raise all levels until a link is full, freeze the flows on it, go on.
std::vector<double> fair_rates(const LinkList& links, const FlowList& flows, const std::vector<double>& weight,
                               const std::vector<std::size_t>& active) {
  std::vector<double> rate(flows.size(), 0.0);
  std::vector<std::size_t> open = active;
  while (!open.empty()) {
    std::vector<double> left = links.capacity;
    std::vector<double> open_weight(links.size(), 0.0);
    for (const std::size_t flow : active)
      for (const std::uint32_t link : flows.route(flow)) left[link] -= rate[flow];
    for (const std::size_t flow : open)
      for (const std::uint32_t link : flows.route(flow)) open_weight[link] += weight[flow];
    std::size_t fullest = 0;
    double level = std::numeric_limits<double>::infinity();
    for (std::size_t link = 0; link < links.size(); ++link) {
      if (open_weight[link] > 0 && left[link] / open_weight[link] < level) {
        level = left[link] / open_weight[link];
        fullest = link;
      }
    }
    std::erase_if(open, [&](std::size_t flow) {
      const auto route = flows.route(flow);
      const bool full = std::find(route.begin(), route.end(), fullest) != route.end();
      if (full) rate[flow] = level * weight[flow];
      return full;
    });
  }
  return rate;
}

}  // namespace

std::vector<double> progressive_filling(const LinkList& links, const FlowList& flows, Sharing sharing) {
  Prepared prepared = prepare(links, flows, sharing);
  if (prepared.weight.empty()) prepared.weight.assign(flows.size(), 1.0);
  std::vector<double> remaining(flows.size());
  std::vector<double> completion(flows.size());
  std::vector<bool> begun(flows.size());
  std::vector<std::size_t> active;
  std::size_t done = 0;
  for (std::size_t flow = 0; flow < flows.size(); ++flow) remaining[flow] = flows.bytes(flow);
  double now_s = 0;
  while (done < flows.size()) {
    const std::vector<double> rate = fair_rates(links, flows, prepared.weight, active);
    double next_s = std::numeric_limits<double>::infinity();
    for (std::size_t flow = 0; flow < flows.size(); ++flow)
      if (!begun[flow]) next_s = std::min(next_s, prepared.active_s[flow]);
    for (const std::size_t flow : active) next_s = std::min(next_s, now_s + remaining[flow] / rate[flow]);
    std::erase_if(active, [&](std::size_t flow) {
      const bool ends = now_s + remaining[flow] / rate[flow] <= next_s;
      remaining[flow] -= rate[flow] * (next_s - now_s);
      if (ends) completion[flow] = next_s;
      done += ends ? 1 : 0;
      return ends;
    });
    for (std::size_t flow = 0; flow < flows.size(); ++flow) {
      if (begun[flow] || prepared.active_s[flow] > next_s) continue;
      begun[flow] = true;
      active.push_back(flow);
    }
    now_s = next_s;
  }
  return completion;
}

}  // namespace lastbit::sim::network
