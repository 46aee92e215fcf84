#include "sim/report/routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "sim/workload/expert_load.h"
#include "sim/workload/routing.h"

namespace lastbit::sim::report {
namespace {

using workload::GpuTraffic;
using workload::Traffic;

constexpr int kNodesShown = 16;  // more make lines that no screen holds

std::int64_t total(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

double imbalance(const std::vector<std::int64_t>& counts) {
  return workload::load_factor(std::vector<double>(counts.begin(), counts.end()));
}

// Tokens that each GPU computes, [gpus].
std::vector<std::int64_t> gpu_rows(const Traffic& traffic) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(traffic.gpus), 0);
  const std::size_t slots = traffic.slot_rows.size() / rows.size();
  for (std::size_t slot = 0; slot < traffic.slot_rows.size(); ++slot) rows[slot / slots] += traffic.slot_rows[slot];
  return rows;
}

nlohmann::ordered_json matrix(const std::vector<std::int64_t>& values, std::int64_t columns) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (auto at = values.begin(); at != values.end(); at += columns)
    rows.push_back(std::vector<std::int64_t>(at, at + columns));
  return rows;
}

nlohmann::ordered_json reach_json(const Reach& reach) {
  return {{"gpus", reach.gpus},
          {"nodes", reach.nodes},
          {"other_nodes", reach.other_nodes},
          {"network_gpus", reach.network_gpus}};
}

nlohmann::ordered_json way_json(const Traffic& traffic, const GpuTraffic& way) {
  return {{"network_sent_per_gpu", way.network_sent},
          {"network_received_per_gpu", way.network_received},
          {"nvlink_sent_per_gpu", way.nvlink_sent},
          {"network_per_plane", workload::plane_traffic(traffic, way)}};
}

std::string way_text(const char* name, const GpuTraffic& way, const RoutingSummary& summary) {
  const double copies = static_cast<double>(total(way.network_sent)) / static_cast<double>(summary.tokens);
  return fmt::format("{:<10}{:>9.4f}{:>14.0f}{:>14.0f}{:>11.4f}{:>11.4f}{:>13.4f}\n", name, copies,
                     copies * summary.bytes.dispatch, copies * summary.bytes.combine, imbalance(way.network_sent),
                     imbalance(way.network_received), imbalance(way.nvlink_sent));
}

std::string reach_line(const char* name, double found, const std::optional<Reach>& expected, double Reach::*figure) {
  std::string line = fmt::format("{:<44}{:>9.4f}", name, found);
  if (expected) line += fmt::format("{:>11.4f}", *expected.*figure);
  return line + "\n";
}

std::string node_text(const Traffic& traffic) {
  const std::vector<std::int64_t> between = workload::node_traffic(traffic);
  std::string text = "\ntokens from node (row) to node (column), once each\n";
  for (std::size_t from = 0; from < static_cast<std::size_t>(traffic.nodes); ++from) {
    text += fmt::format("{:>4}", from);
    for (std::size_t to = 0; to < static_cast<std::size_t>(traffic.nodes); ++to)
      text += fmt::format("{:>9}", between[from * static_cast<std::size_t>(traffic.nodes) + to]);
    text += '\n';
  }
  return text;
}

}  // namespace

Reach reach_of(const Traffic& traffic, std::int64_t tokens) {
  const auto all = static_cast<double>(tokens);
  return {static_cast<double>(total(traffic.to_gpu)) / all, static_cast<double>(total(traffic.to_node)) / all,
          static_cast<double>(total(workload::forwarded_traffic(traffic).network_sent)) / all,
          static_cast<double>(total(workload::direct_traffic(traffic).network_sent)) / all};
}

std::optional<Reach> uniform_reach(const workload::ChoiceRule& rule, int experts, int gpus, int nodes) {
  const auto divide = [](int a, int b) { return a % b == 0 || b % a == 0; };
  const int groups = rule.kept_groups == rule.groups ? 1 : rule.groups;
  const int kept = rule.kept_groups == rule.groups ? 1 : rule.kept_groups;
  if (experts % gpus != 0 || !divide(groups, gpus) || !divide(groups, nodes)) return std::nullopt;
  workload::RoutingShape shape;
  shape.experts = experts;
  shape.groups = groups;
  shape.kept_groups = kept;
  shape.top_k = rule.top_k;
  Reach reach;
  reach.gpus = workload::expected_places(shape, gpus);
  reach.nodes = workload::expected_places(shape, nodes);
  // Every node, and every GPU, is as likely to be reached as any other.
  reach.other_nodes = reach.nodes * (nodes - 1) / nodes;
  reach.network_gpus = reach.gpus * (nodes - 1) / nodes;
  return reach;
}

std::string routing_text(const RoutingSummary& summary) {
  const Traffic& traffic = summary.traffic;
  const Reach reach = reach_of(traffic, summary.tokens);
  const std::vector<std::int64_t> rows = gpu_rows(traffic);
  std::string text = fmt::format("{:<44}{:>9}{}\n", "a token reaches", "routed", summary.expected ? "    uniform" : "");
  text += reach_line("GPUs", reach.gpus, summary.expected, &Reach::gpus);
  text += reach_line("nodes", reach.nodes, summary.expected, &Reach::nodes);
  text += reach_line("other nodes", reach.other_nodes, summary.expected, &Reach::other_nodes);
  text += reach_line("GPUs of other nodes", reach.network_gpus, summary.expected, &Reach::network_gpus);
  text +=
      fmt::format("\n{:<44}{:>9.4f}\n", "busiest expert over the mean, loads", workload::load_factor(summary.loads));
  text += fmt::format("{:<44}{:>9.4f}\n", "busiest replica over the mean, rows", imbalance(traffic.slot_rows));
  text += fmt::format("{:<44}{:>9.4f}\n", "busiest GPU over the mean, rows", imbalance(rows));
  const std::int64_t slowest = *std::max_element(traffic.slot_rows.begin(), traffic.slot_rows.end());
  const std::int64_t all_rows = total(traffic.slot_rows);
  text += fmt::format("{:<44}{:>8.4f}%\n", "slowest replica's share of all rows",
                      all_rows == 0 ? 0.0 : 100 * static_cast<double>(slowest) / static_cast<double>(all_rows));
  text +=
      fmt::format("\n{:<10}{:>9}{:>28}{:>36}\n", "", "copies", "network bytes a token", "busiest GPU over the mean");
  text += fmt::format("{:<10}{:>9}{:>14}{:>14}{:>11}{:>11}{:>13}\n", "dispatch", "a token", "dispatch", "combine",
                      "NIC sent", "received", "NVLink sent");
  text += way_text("direct", workload::direct_traffic(traffic), summary);
  text += way_text("forwarded", workload::forwarded_traffic(traffic), summary);
  if (traffic.nodes <= kNodesShown) text += node_text(traffic);
  return text;
}

nlohmann::ordered_json routing_json(const RoutingSummary& summary) {
  const Traffic& traffic = summary.traffic;
  nlohmann::ordered_json out;
  out["tokens"] = summary.tokens;
  out["reach"] = reach_json(reach_of(traffic, summary.tokens));
  out["uniform_reach"] = summary.expected ? reach_json(*summary.expected) : nlohmann::ordered_json();
  out["bytes_per_token"] = {{"dispatch", summary.bytes.dispatch}, {"combine", summary.bytes.combine}};
  out["load_factor"] = workload::load_factor(summary.loads);
  out["rows_per_replica"] = traffic.slot_rows;
  out["rows_per_gpu"] = gpu_rows(traffic);
  out["direct"] = way_json(traffic, workload::direct_traffic(traffic));
  out["forwarded"] = way_json(traffic, workload::forwarded_traffic(traffic));
  out["tokens_gpu_to_gpu"] = matrix(traffic.to_gpu, traffic.gpus);
  out["tokens_gpu_to_node"] = matrix(traffic.to_node, traffic.nodes);
  out["tokens_forwarded_gpu_to_gpu"] = matrix(traffic.forwarded, traffic.gpus);
  out["tokens_node_to_node"] = matrix(workload::node_traffic(traffic), traffic.nodes);
  return out;
}

}  // namespace lastbit::sim::report
