#include "sim/cluster/cluster.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "sim/cluster/quantity.h"

namespace lastbit::sim::cluster {
namespace {

const std::vector<std::string> kFabrics{"single-switch",          "fat-tree-2", "fat-tree-3",
                                        "multi-plane-fat-tree-2", "multi-rail", "nvlink-rack-ib"};

Gpu read_gpu(const io::ConfigReader& reader) {
  Gpu gpu;
  gpu.name = reader.require<std::string>("name");
  gpu.bf16_flops = require_quantity(reader, "bf16", Dimension::kComputeRate);
  // A GPU without FP8 units says so by leaving the key out; its FP8 jobs are then refused.
  if (reader.has("fp8")) gpu.fp8_flops = require_quantity(reader, "fp8", Dimension::kComputeRate);
  gpu.sms = static_cast<int>(reader.require_in("sms", std::int64_t{1}, std::int64_t{100000}));
  gpu.hbm_bytes = require_quantity(reader, "hbm_capacity", Dimension::kBytes);
  gpu.hbm_bandwidth = require_quantity(reader, "hbm_bandwidth", Dimension::kBandwidth);
  reader.finish();
  return gpu;
}

// "attainable" may not exceed "peak": a swapped or mistyped pair is the commonest slip in such a file.
void check_attainable(const io::ConfigReader& reader, const std::string& key, double attainable, double peak) {
  if (attainable > peak) {
    core::fail_input("{}: key '{}': found {} B/s, expected at most the peak of {} B/s", reader.file(),
                     reader.dotted(key), attainable, peak);
  }
}

Node read_node(const io::ConfigReader& reader) {
  Node node;
  node.gpus = static_cast<int>(reader.require_in("gpus", std::int64_t{1}, std::int64_t{1024}));
  node.nvlink_peak = require_quantity(reader, "nvlink_peak", Dimension::kBandwidth);
  node.nvlink_attainable = require_quantity(reader, "nvlink_attainable", Dimension::kBandwidth);
  check_attainable(reader, "nvlink_attainable", node.nvlink_attainable, node.nvlink_peak);
  reader.finish();
  return node;
}

Network read_network(const io::ConfigReader& reader) {
  Network network;
  network.fabric = reader.require_one_of("fabric", kFabrics);
  if (reader.has("planes")) {
    network.planes = static_cast<int>(reader.require_in("planes", std::int64_t{1}, std::int64_t{64}));
  }
  network.nics_per_gpu = static_cast<int>(reader.require_in("nics_per_gpu", std::int64_t{1}, std::int64_t{16}));
  network.nic_peak = require_quantity(reader, "nic_peak", Dimension::kBandwidth);
  network.nic_attainable = require_quantity(reader, "nic_attainable", Dimension::kBandwidth);
  check_attainable(reader, "nic_attainable", network.nic_attainable, network.nic_peak);
  network.latency_s = require_quantity(reader, "latency", Dimension::kTime);
  reader.finish();
  return network;
}

}  // namespace

Cluster load_cluster(const std::string& name_or_path, const std::vector<Override>& overrides) {
  const std::string path = description_path("clusters", name_or_path, "cluster");
  nlohmann::json object = io::load_config_file(path);
  apply_overrides(object, overrides, "cluster");
  const io::ConfigReader reader(object, name_with_overrides(path, overrides, "cluster"));
  Cluster cluster;
  cluster.name = reader.require<std::string>("name");
  cluster.nodes = static_cast<int>(reader.require_in("nodes", std::int64_t{1}, std::int64_t{1000000}));
  cluster.calibration = reader.get_or<std::string>("calibration", "");
  cluster.gpu = read_gpu(reader.require_object("gpu"));
  cluster.node = read_node(reader.require_object("node"));
  cluster.network = read_network(reader.require_object("network"));
  reader.ignore("source");
  reader.finish();
  return cluster;
}

}  // namespace lastbit::sim::cluster
