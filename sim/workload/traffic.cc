#include "sim/workload/traffic.h"

#include <algorithm>

#include "core/error.h"

namespace lastbit::sim::workload {
namespace {

std::size_t cell(std::int64_t row, std::int64_t columns, std::int64_t column) {
  return static_cast<std::size_t>(row * columns + column);
}

// Goes through the tokens once; `seen` marks hold the last token, from 1, that came by.
class Counter {
 public:
  Counter(const RoutedTokens& tokens, const Placement& placement)
      : tokens_(tokens),
        placement_(placement),
        gpu_seen_(static_cast<std::size_t>(placement.gpus), 0),
        node_seen_(static_cast<std::size_t>(placement.nodes), 0),
        turn_(placement.expert_slots.size(), 0) {
    const auto gpus = static_cast<std::size_t>(placement.gpus);
    traffic_.gpus = placement.gpus;
    traffic_.nodes = placement.nodes;
    traffic_.to_gpu.assign(gpus * gpus, 0);
    traffic_.forwarded.assign(gpus * gpus, 0);
    traffic_.to_node.assign(gpus * static_cast<std::size_t>(placement.nodes), 0);
    traffic_.slot_rows.assign(placement.slot_expert.size(), 0);
  }

  Traffic run() && {
    const std::int64_t all = tokens_.tokens();
    const std::int64_t gpus = placement_.gpus;
    std::int64_t token = 0;
    for (std::int64_t source = 0; source < gpus; ++source) {
      const std::int64_t end = token + all / gpus + (source < all % gpus ? 1 : 0);
      for (; token < end; ++token) send(source, token);
    }
    return std::move(traffic_);
  }

 private:
  void send(std::int64_t source, std::int64_t token) {
    const std::int64_t per_node = traffic_.gpus_a_node();
    for (int i = 0; i < tokens_.top_k; ++i) {
      const std::int32_t expert = tokens_.choices[cell(token, tokens_.top_k, i)];
      if (expert < 0) continue;
      const std::vector<std::int32_t>& slots = placement_.expert_slots[static_cast<std::size_t>(expert)];
      const std::int32_t slot = slots[turn_[static_cast<std::size_t>(expert)]++ % slots.size()];
      ++traffic_.slot_rows[static_cast<std::size_t>(slot)];
      const std::int64_t gpu = placement_.gpu_of(slot);
      const std::int64_t node = gpu / per_node;
      if (node_seen_[static_cast<std::size_t>(node)] != token + 1) {
        node_seen_[static_cast<std::size_t>(node)] = token + 1;
        ++traffic_.to_node[cell(source, traffic_.nodes, node)];
      }
      if (gpu_seen_[static_cast<std::size_t>(gpu)] == token + 1) continue;
      gpu_seen_[static_cast<std::size_t>(gpu)] = token + 1;
      ++traffic_.to_gpu[cell(source, traffic_.gpus, gpu)];
      const std::int64_t relay = node * per_node + source % per_node;
      if (node != source / per_node && relay != gpu) ++traffic_.forwarded[cell(relay, traffic_.gpus, gpu)];
    }
  }

  const RoutedTokens& tokens_;
  const Placement& placement_;
  std::vector<std::int64_t> gpu_seen_;
  std::vector<std::int64_t> node_seen_;
  std::vector<std::size_t> turn_;  // [experts] tokens so far
  Traffic traffic_;
};

GpuTraffic empty_traffic(int gpus) {
  const std::vector<std::int64_t> none(static_cast<std::size_t>(gpus), 0);
  return {none, none, none, none};
}

}  // namespace

Traffic token_traffic(const RoutedTokens& tokens, const Placement& placement) {
  if (tokens.experts != placement.experts())
    core::fail_input("traffic: tokens are routed to {} experts, but {} are placed", tokens.experts,
                     placement.experts());
  return Counter(tokens, placement).run();
}

GpuTraffic direct_traffic(const Traffic& traffic) {
  GpuTraffic sum = empty_traffic(traffic.gpus);
  const std::int64_t per_node = traffic.gpus_a_node();
  for (std::int64_t from = 0; from < traffic.gpus; ++from) {
    for (std::int64_t to = 0; to < traffic.gpus; ++to) {
      const std::int64_t tokens = traffic.to_gpu[cell(from, traffic.gpus, to)];
      if (from / per_node != to / per_node) {
        sum.network_sent[static_cast<std::size_t>(from)] += tokens;
        sum.network_received[static_cast<std::size_t>(to)] += tokens;
      } else if (from != to) {
        sum.nvlink_sent[static_cast<std::size_t>(from)] += tokens;
        sum.nvlink_received[static_cast<std::size_t>(to)] += tokens;
      }
    }
  }
  return sum;
}

GpuTraffic forwarded_traffic(const Traffic& traffic) {
  GpuTraffic sum = empty_traffic(traffic.gpus);
  const std::int64_t per_node = traffic.gpus_a_node();
  for (std::int64_t from = 0; from < traffic.gpus; ++from) {
    const std::int64_t own = from / per_node;
    for (std::int64_t node = 0; node < traffic.nodes; ++node) {
      if (node == own) continue;
      const std::int64_t tokens = traffic.to_node[cell(from, traffic.nodes, node)];
      sum.network_sent[static_cast<std::size_t>(from)] += tokens;
      sum.network_received[static_cast<std::size_t>(node * per_node + from % per_node)] += tokens;
    }
    for (std::int64_t to = own * per_node; to < (own + 1) * per_node; ++to) {
      if (to == from) continue;
      const std::int64_t tokens =
          traffic.to_gpu[cell(from, traffic.gpus, to)] + traffic.forwarded[cell(from, traffic.gpus, to)];
      sum.nvlink_sent[static_cast<std::size_t>(from)] += tokens;
      sum.nvlink_received[static_cast<std::size_t>(to)] += tokens;
    }
  }
  return sum;
}

std::vector<std::int64_t> node_traffic(const Traffic& traffic) {
  std::vector<std::int64_t> sum(static_cast<std::size_t>(traffic.nodes) * static_cast<std::size_t>(traffic.nodes), 0);
  for (std::int64_t from = 0; from < traffic.gpus; ++from)
    for (std::int64_t node = 0; node < traffic.nodes; ++node)
      sum[cell(from / traffic.gpus_a_node(), traffic.nodes, node)] += traffic.to_node[cell(from, traffic.nodes, node)];
  return sum;
}

std::vector<std::int64_t> plane_traffic(const Traffic& traffic, const GpuTraffic& sent) {
  std::vector<std::int64_t> sum(static_cast<std::size_t>(traffic.gpus_a_node()), 0);
  for (std::size_t gpu = 0; gpu < sent.network_sent.size(); ++gpu) sum[gpu % sum.size()] += sent.network_sent[gpu];
  return sum;
}

}  // namespace lastbit::sim::workload
