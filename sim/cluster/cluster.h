// A cluster: its GPUs, nodes and network, as data/clusters/*.toml describes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/cluster/description.h"

namespace lastbit::sim::cluster {

struct Gpu {
  std::string name;
  double bf16_flops = 0;  // dense peak, FLOP/s
  double fp8_flops = 0;   // dense peak, FLOP/s; 0: no such units
  double fp4_flops = 0;   // the same
  int sms = 0;            // streaming multiprocessors
  double hbm_bytes = 0;
  double hbm_bandwidth = 0;  // B/s
  // Not every source gives these; 0: not given.
  double launch_latency_s = 0;  // of a kernel
  double sync_latency_s = 0;    // of the host waiting for a stream
  double idle_power_w = 0;
  double load_power_w = 0;
};

struct Node {
  int gpus = 0;
  double nvlink_peak = 0;        // B/s a GPU and direction
  double nvlink_attainable = 0;  // B/s
  double nvlink_latency_s = 0;   // GPU to GPU; 0: not given
  double pcie = 0;               // B/s between a GPU and its NIC and direction; 0: as fast as the NIC
  int nics = 0;                  // ports to the fabric; nics_per_gpu NICs behind each
  std::vector<int> nic_of_gpu;   // the port each GPU uses
};

enum class Fabric { kSingleSwitch, kFatTree2, kFatTree3, kMultiPlaneFatTree2, kMultiRail, kDragonfly, kNvlinkRackIb };
enum class Routing { kEcmp, kAdaptive, kStatic };
enum class CrossRail { kNvlink, kSpine };

// The fabric between nodes. Sizes that a file leaves out are worked out from switch_radix (network.cc).
struct Network {
  std::string fabric;  // as the file names it
  Fabric kind = Fabric::kSingleSwitch;
  Routing routing = Routing::kEcmp;
  CrossRail cross_rail = CrossRail::kNvlink;  // how traffic changes rails in a multi-rail fabric
  int planes = 1;                             // or rails
  int nics_per_gpu = 1;
  double nic_peak = 0;        // B/s a NIC and direction
  double nic_attainable = 0;  // B/s, long messages
  double nic_messages = 0;    // B/s, messages of a token: message_share of the peak, nic_attainable at most
  double latency_s = 0;       // NIC to NIC by the longest shortest path
  double switch_latency_s = 0;
  double cable_latency_s = 0;
  int switch_radix = 64;
  double link_rate = 0;         // B/s of one link between switches and direction; nic_peak where not given
  double oversubscription = 1;  // ports down / ports up of a leaf
  int nodes_per_leaf = 0;       // 0: a node fills several leaves
  int nics_per_leaf = 0;        // of a plane
  int spines = 0;               // of a plane; in a pod of three layers
  int links_per_spine = 0;      // parallel links between a leaf and a spine
  int nics_per_router = 0;      // dragonfly; also the two below
  int routers_per_group = 0;
  int global_links_per_router = 0;
  std::vector<std::string> failed_links;  // names, as `lastbit sim cluster --links` lists them
  std::vector<std::int64_t> failed_nics;  // ports, node x nics + port
};

struct Cluster {
  std::string name;
  int nodes = 0;
  Gpu gpu;
  Node node;
  Network network;
  std::string calibration;  // folder of data/calibration; empty: no measured tables

  [[nodiscard]] int gpus() const { return nodes * node.gpus; }
  [[nodiscard]] int nics() const { return nodes * node.nics; }
};

// Reads and checks a cluster by preset name or path, after the overrides of subject "cluster". Error(kInput): unknown
// name, unknown key, missing unit, a value out of range, attainable above peak, a fabric that its switches cannot make.
[[nodiscard]] Cluster load_cluster(const std::string& name_or_path, const std::vector<Override>& overrides = {});

}  // namespace lastbit::sim::cluster
