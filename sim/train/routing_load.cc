#include "sim/train/routing_load.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "sim/workload/expert_load.h"
#include "sim/workload/load_file.h"
#include "sim/workload/placement.h"

namespace lastbit::sim::train {
namespace {

constexpr std::string_view kZipf = "zipf:";

double zipf_exponent(const std::string& source) {
  double exponent = 0;
  const char* begin = source.data() + kZipf.size();
  const char* end = source.data() + source.size();
  const auto [stop, error] = std::from_chars(begin, end, exponent);
  if (error != std::errc{} || stop != end) {
    core::fail_input("--load: found '{}', expected uniform, zipf:EXPONENT or a file", source);
  }
  return exponent;
}

std::size_t routed_layers(const model::ModelConfig& model) {
  std::size_t layers = static_cast<std::size_t>(model.num_nextn_predict_layers);
  for (std::int64_t i = 0; i < model.num_hidden_layers; ++i) layers += model.is_moe_layer(i) ? 1 : 0;
  return layers;
}

// Groups in which the file's experts lie: the file's own, else the model's where they fit.
int groups_of(const workload::LoadFile& file, const model::ModelConfig& model, const std::string& source) {
  const auto experts = static_cast<int>(file.loads.front().size());
  if (file.groups && (*file.groups < 1 || experts % *file.groups != 0)) {
    core::fail_input("{}: key 'num_groups': found {}, expected a number from 1 that divides the {} experts", source,
                     *file.groups, experts);
  }
  if (file.groups) return *file.groups;
  return model.n_group >= 1 && experts % model.n_group == 0 ? static_cast<int>(model.n_group) : 1;
}

workload::LayerLoads file_loads(const std::string& source, const model::ModelConfig& model) {
  const workload::LoadFile file = workload::read_load_file(source);
  const auto experts = static_cast<std::size_t>(model.n_routed_experts);
  const std::size_t found = file.loads.front().size();
  if (experts % found != 0 && found % experts != 0) {
    core::fail_input("{}: found loads of {} experts, expected as many as the model's {}, a divisor or a multiple",
                     source, found, experts);
  }
  const int groups = groups_of(file, model, source);
  workload::LayerLoads loads;
  for (const std::vector<double>& layer : file.loads) {
    const std::string name = source + ": layer " + std::to_string(loads.size());
    loads.push_back(
        workload::resample_loads(workload::normalized_loads(layer, name), static_cast<int>(experts), groups));
  }
  return loads;
}

}  // namespace

std::vector<double> layer_load_factors(const model::ModelConfig& model, const Layout& layout,
                                       const cluster::Cluster& cluster, const std::string& source, std::uint64_t seed) {
  if (model.n_routed_experts == 0) core::fail_input("--load: the model has no experts");
  const int experts = static_cast<int>(model.n_routed_experts);
  const std::size_t layers = routed_layers(model);
  workload::LayerLoads loads;
  if (source == "uniform") {
    loads.push_back(workload::uniform_loads(experts));
  } else if (source.starts_with(kZipf)) {
    const double exponent = zipf_exponent(source);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      loads.push_back(workload::zipf_loads(experts, exponent, seed + layer));
    }
  } else {
    loads = file_loads(source, model);
  }
  const int nodes = std::max(1, layout.expert / cluster.node.gpus);
  const workload::Placement placement = workload::contiguous_placement(experts, layout.expert, nodes);
  std::vector<double> factors;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const std::vector<double>& own = loads[layer * loads.size() / layers];
    factors.push_back(workload::load_factor(workload::gpu_loads(placement, own)));
  }
  return factors;
}

}  // namespace lastbit::sim::train
