// A cluster: its GPUs, nodes and network, as data/clusters/*.toml describes it.
#pragma once

#include <string>
#include <vector>

#include "sim/cluster/description.h"

namespace lastbit::sim::cluster {

struct Gpu {
  std::string name;
  double bf16_flops = 0;  // dense peak, FLOP/s
  double fp8_flops = 0;   // dense peak, FLOP/s
  int sms = 0;            // streaming multiprocessors
  double hbm_bytes = 0;
  double hbm_bandwidth = 0;  // B/s
};

struct Node {
  int gpus = 0;
  double nvlink_peak = 0;        // B/s a GPU and direction
  double nvlink_attainable = 0;  // B/s
};

struct Network {
  std::string fabric;
  int planes = 1;
  int nics_per_gpu = 1;
  double nic_peak = 0;        // B/s a NIC and direction
  double nic_attainable = 0;  // B/s
  double latency_s = 0;
};

struct Cluster {
  std::string name;
  int nodes = 0;
  Gpu gpu;
  Node node;
  Network network;
  std::string calibration;  // folder of data/calibration; empty: no measured tables

  [[nodiscard]] int gpus() const { return nodes * node.gpus; }
};

// Reads and checks a cluster by preset name or path, after the overrides of subject "cluster". Error(kInput): unknown
// name, unknown key, missing unit, a value out of range, attainable above peak.
[[nodiscard]] Cluster load_cluster(const std::string& name_or_path, const std::vector<Override>& overrides = {});

}  // namespace lastbit::sim::cluster
