#include "sim/workload/load_file.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_reader.h"
#include "io/file_bytes.h"
#include "io/json.h"

namespace lastbit::sim::workload {
namespace {

constexpr double kMostInFile = 1e30;

std::vector<double> read_layer(const nlohmann::json& values, const std::string& where) {
  std::vector<double> loads;
  for (const nlohmann::json& value : values) {
    if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= kMostInFile))
      core::fail_input("{}: load {}: found {}, expected a number from 0 to {}", where, loads.size(),
                       io::describe_json(value), kMostInFile);
    loads.push_back(value.get<double>());
  }
  return loads;
}

LayerLoads read_layers(const nlohmann::json& values, const std::string& name) {
  if (!values.is_array() || values.empty())
    core::fail_input("{}: found {}, expected loads of experts: an array of numbers, or one such array for each layer",
                     name, io::describe_json(values));
  if (!values.front().is_array()) return {read_layer(values, name)};
  LayerLoads layers;
  for (const nlohmann::json& layer : values) {
    const std::string where = name + ": layer " + std::to_string(layers.size());
    if (!layer.is_array() || layer.empty())
      core::fail_input("{}: found {}, expected an array of loads", where, io::describe_json(layer));
    layers.push_back(read_layer(layer, where));
    if (layers.back().size() != layers.front().size())
      core::fail_input("{}: found {} experts, expected {} as in layer 0", where, layers.back().size(),
                       layers.front().size());
  }
  return layers;
}

LoadFile from_trace(const std::string& path) {
  const io::RoutingTrace trace = io::load_routing_trace(path);
  const auto experts = static_cast<std::size_t>(trace.experts);
  LoadFile file;
  file.groups = static_cast<int>(trace.groups);
  file.loads.assign(trace.layers.size(), std::vector<double>(experts, 0));
  for (std::size_t i = 0; i < trace.counts.size(); ++i)
    file.loads[i / experts % file.loads.size()][i % experts] += static_cast<double>(trace.counts[i]);
  return file;
}

}  // namespace

LoadFile parse_load_file(std::string_view json, const std::string& name) {
  const nlohmann::json document = io::parse_json(json, name);
  if (!document.is_object()) return {read_layers(document, name), {}, {}, {}, {}};
  const io::ConfigReader reader(document, name);
  LoadFile file;
  if (!reader.has("weight")) reader.fail("weight", "the loads of the experts");
  file.loads = read_layers(reader.raw("weight"), name + ": key 'weight'");
  file.replicas = reader.optional<int>("num_replicas");
  file.groups = reader.optional<int>("num_groups");
  file.nodes = reader.optional<int>("num_nodes");
  file.gpus = reader.optional<int>("num_gpus");
  for (const char* key : {"schema_version", "name", "policy", "physical_to_logical", "logical_to_physical",
                          "logical_count", "max_gpu_load_per_layer", "mean_gpu_load_per_layer"})
    reader.ignore(key);
  reader.finish();
  return file;
}

LoadFile read_load_file(const std::string& path) {
  if (path.ends_with(".h5") || path.ends_with(".hdf5")) return from_trace(path);
  return parse_load_file(io::FileBytes::open(path)->text(), path);
}

}  // namespace lastbit::sim::workload
