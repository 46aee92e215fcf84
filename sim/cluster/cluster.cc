#include "sim/cluster/cluster.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "sim/cluster/network.h"
#include "sim/cluster/quantity.h"

namespace lastbit::sim::cluster {
namespace {

Gpu read_gpu(const io::ConfigReader& reader) {
  Gpu gpu;
  gpu.name = reader.require<std::string>("name");
  gpu.bf16_flops = require_quantity(reader, "bf16", Dimension::kComputeRate);
  // A GPU without FP8 units says so by leaving the key out; its FP8 jobs are then refused.
  if (reader.has("fp8")) gpu.fp8_flops = require_quantity(reader, "fp8", Dimension::kComputeRate);
  gpu.sms = static_cast<int>(reader.require_in("sms", std::int64_t{1}, std::int64_t{100000}));
  gpu.hbm_bytes = require_quantity(reader, "hbm_capacity", Dimension::kBytes);
  gpu.hbm_bandwidth = require_quantity(reader, "hbm_bandwidth", Dimension::kBandwidth);
  if (reader.has("fp4")) gpu.fp4_flops = require_quantity(reader, "fp4", Dimension::kComputeRate);
  if (reader.has("launch_latency")) gpu.launch_latency_s = require_quantity(reader, "launch_latency", Dimension::kTime);
  if (reader.has("sync_latency")) gpu.sync_latency_s = require_quantity(reader, "sync_latency", Dimension::kTime);
  if (reader.has("idle_power")) gpu.idle_power_w = require_quantity(reader, "idle_power", Dimension::kPower);
  if (reader.has("load_power")) gpu.load_power_w = require_quantity(reader, "load_power", Dimension::kPower);
  reader.finish();
  return gpu;
}

// The port each GPU uses: as the file says, else GPUs in order over the ports.
std::vector<int> read_affinity(const io::ConfigReader& reader, const Node& node) {
  std::vector<int> all;
  if (!reader.has("nic_of_gpu")) {
    for (int gpu = 0; gpu < node.gpus; ++gpu) all.push_back(gpu * node.nics / node.gpus);
    return all;
  }
  for (const std::int64_t port : reader.require<std::vector<std::int64_t>>("nic_of_gpu")) {
    if (port < 0 || port >= node.nics)
      core::fail_input("{}: key '{}': found NIC {}, expected 0 to {}", reader.file(), reader.dotted("nic_of_gpu"), port,
                       node.nics - 1);
    all.push_back(static_cast<int>(port));
  }
  if (all.size() != static_cast<std::size_t>(node.gpus))
    core::fail_input("{}: key '{}': found {} NICs, expected one for each of {} GPUs", reader.file(),
                     reader.dotted("nic_of_gpu"), all.size(), node.gpus);
  return all;
}

Node read_node(const io::ConfigReader& reader) {
  Node node;
  node.gpus = static_cast<int>(reader.require_in("gpus", std::int64_t{1}, std::int64_t{1024}));
  node.nvlink_peak = require_quantity(reader, "nvlink_peak", Dimension::kBandwidth);
  node.nvlink_attainable = require_quantity(reader, "nvlink_attainable", Dimension::kBandwidth);
  check_attainable(reader, "nvlink_attainable", node.nvlink_attainable, node.nvlink_peak);
  if (reader.has("nvlink_latency"))
    node.nvlink_latency_s = require_quantity(reader, "nvlink_latency", Dimension::kTime);
  if (reader.has("pcie")) node.pcie = require_quantity(reader, "pcie", Dimension::kBandwidth);
  node.nics = node.gpus;
  if (reader.has("nics"))
    node.nics = static_cast<int>(reader.require_in("nics", std::int64_t{1}, std::int64_t{node.gpus}));
  node.nic_of_gpu = read_affinity(reader, node);
  reader.finish();
  return node;
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
  cluster.network = read_network(reader.require_object("network"), cluster.nodes, cluster.node);
  reader.ignore("source");
  reader.finish();
  return cluster;
}

}  // namespace lastbit::sim::cluster
