// Scenario files of the network: links, flows with their routes, how they share.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sim/network/flow_list.h"
#include "sim/network/sharing.h"

namespace lastbit::sim::network {

struct Scenario {
  std::string name;
  Sharing sharing = Sharing::kMaxMin;
  LinkList links;
  std::vector<std::int64_t> link_ids;   // as the file numbers them
  std::vector<std::string> link_names;  // empty where the file gives none
  FlowList flows;
  std::vector<double> expected_s;  // completions that the file expects; empty when it expects none
};

// {"links": [{"id", "name", "capacity_Bps", "latency_s"}], "flows": [{"id", "src", "dst", "start_s", "size_B",
// "route": [link ids]}], "sharing": "maxmin" | "inverse_latency"}. Optional: ids (the place in the list), names,
// latencies and starts (0), src and dst, sharing (maxmin), "name", "units" (which must be the ones of the keys),
// "description", "simgrid" and "crosscheck" (not read), "expected": {"completion_s", "makespan_s"}.
// Error(kInput), naming file and key: unknown keys and units, an id that is there twice, a route over no link or over
// one that is not there, capacities that are not positive, negative latencies, starts and sizes, numbers so large or
// small that their quotients leave the range of a double.
[[nodiscard]] Scenario read_scenario(const nlohmann::json& document, const std::string& file);
[[nodiscard]] Scenario load_scenario(const std::string& path);

}  // namespace lastbit::sim::network
