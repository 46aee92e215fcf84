// Links and the flows that share them, as arrays: a cluster has a million links and tens of millions of flows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lastbit::sim::network {

// Directed links by number.
struct LinkList {
  std::vector<double> capacity;   // B/s, positive
  std::vector<double> latency_s;  // as long as capacity

  [[nodiscard]] std::size_t size() const { return capacity.size(); }
  std::uint32_t add(double capacity_bytes_s, double link_latency_s) {
    capacity.push_back(capacity_bytes_s);
    latency_s.push_back(link_latency_s);
    return static_cast<std::uint32_t>(capacity.size() - 1);
  }
};

// Flows by number: start, size and the links on the way. A link that a route crosses twice carries the flow twice.
class FlowList {
 public:
  // Error(kInput) when the routes together pass 2^32 - 1 links.
  std::uint32_t add(double start_s, double bytes, std::span<const std::uint32_t> route);
  void reserve(std::size_t flows, std::size_t links_of_all_routes);

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] double start_s(std::size_t flow) const { return start_s_[flow]; }
  [[nodiscard]] double bytes(std::size_t flow) const { return bytes_[flow]; }
  [[nodiscard]] std::span<const std::uint32_t> route(std::size_t flow) const {
    return {links_.data() + begin_[flow], links_.data() + begin_[flow + 1]};
  }

 private:
  std::vector<double> start_s_;
  std::vector<double> bytes_;
  std::vector<std::uint32_t> begin_{0};  // routes in links_, one more than flows
  std::vector<std::uint32_t> links_;
};

// Seconds that `route` takes beside the transfer: its links' latencies added in order of travel.
[[nodiscard]] double route_latency(const LinkList& links, std::span<const std::uint32_t> route);

}  // namespace lastbit::sim::network
