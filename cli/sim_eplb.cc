// lastbit sim eplb: replicas of experts and where they lie, as EPLB places them.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "io/atomic_file.h"
#include "sim/workload/eplb.h"
#include "sim/workload/expert_load.h"
#include "sim/workload/load_file.h"

namespace lastbit::cli {
namespace {

namespace workload = sim::workload;

struct EplbOptions {
  std::string file;
  std::optional<int> replicas;
  std::optional<int> groups;
  std::optional<int> nodes;
  std::optional<int> gpus;
  std::string policy = "auto";
  std::string out;
  bool json = false;
};

// One layer's answer.
struct PlacedLayer {
  workload::Placement placement;
  std::vector<double> gpu_loads;
};

int chosen(const std::optional<int>& option, const std::optional<int>& in_file, const char* name, const char* key) {
  if (option) return *option;
  if (in_file) return *in_file;
  core::fail_input("{} is missing: the file has no '{}'", name, key);
}

workload::EplbPolicy policy_of(const std::string& name) {
  if (name == "hierarchical") return workload::EplbPolicy::kHierarchical;
  return name == "global" ? workload::EplbPolicy::kGlobal : workload::EplbPolicy::kAuto;
}

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

nlohmann::ordered_json result_json(const workload::LoadFile& file, const workload::EplbParams& params,
                                   const std::string& policy, const std::vector<PlacedLayer>& layers) {
  nlohmann::ordered_json out;
  out["schema_version"] = 1;
  out["policy"] = policy;
  out["num_replicas"] = params.replicas;
  out["num_groups"] = params.groups;
  out["num_nodes"] = params.nodes;
  out["num_gpus"] = params.gpus;
  out["weight"] = file.loads;
  for (const PlacedLayer& layer : layers) {
    nlohmann::ordered_json counts = nlohmann::ordered_json::array();
    for (const auto& slots : layer.placement.expert_slots) counts.push_back(slots.size());
    out["physical_to_logical"].push_back(layer.placement.slot_expert);
    out["logical_to_physical"].push_back(layer.placement.expert_slots);
    out["logical_count"].push_back(std::move(counts));
    out["max_gpu_load_per_layer"].push_back(*std::max_element(layer.gpu_loads.begin(), layer.gpu_loads.end()));
    out["mean_gpu_load_per_layer"].push_back(sum_of(layer.gpu_loads) / params.gpus);
  }
  return out;
}

void print_text(const workload::LoadFile& file, const workload::EplbParams& params, const std::string& policy,
                const std::vector<PlacedLayer>& layers) {
  const std::size_t experts = file.loads.front().size();
  std::cout << fmt::format("{} layer{}, {} experts in {} replicas on {} GPUs of {} nodes, {} placement\n\n",
                           layers.size(), layers.size() == 1 ? "" : "s", experts, params.replicas, params.gpus,
                           params.nodes, policy);
  const bool comparable = experts % static_cast<std::size_t>(params.gpus) == 0;
  std::cout << fmt::format("{:>5}  {:>16}  {:>16}  {:>13}{}\n", "layer", "busiest GPU", "over the mean",
                           "most replicas", comparable ? "  over the mean, experts in order" : "");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const PlacedLayer& layer = layers[l];
    std::size_t most = 0;
    for (const auto& slots : layer.placement.expert_slots) most = std::max(most, slots.size());
    std::string before;
    if (comparable) {
      const auto plain = workload::contiguous_placement(static_cast<int>(experts), params.gpus, 1);
      before = fmt::format("  {:.4f}", workload::load_factor(workload::gpu_loads(plain, file.loads[l])));
    }
    std::cout << fmt::format("{:>5}  {:>16.8g}  {:>16.4f}  {:>13}{}\n", l,
                             *std::max_element(layer.gpu_loads.begin(), layer.gpu_loads.end()),
                             workload::load_factor(layer.gpu_loads), most, before);
  }
}

int run_sim_eplb(const EplbOptions& options) {
  const workload::LoadFile file = workload::read_load_file(options.file);
  workload::EplbParams params;
  params.replicas = chosen(options.replicas, file.replicas, "--replicas", "num_replicas");
  params.groups = options.groups.value_or(file.groups.value_or(1));
  params.nodes = options.nodes.value_or(file.nodes.value_or(1));
  params.gpus = chosen(options.gpus, file.gpus, "--gpus", "num_gpus");
  std::vector<PlacedLayer> layers;
  for (const std::vector<double>& loads : file.loads) {
    workload::Placement placement = workload::eplb_placement(loads, params, policy_of(options.policy));
    std::vector<double> gpu_loads = workload::gpu_loads(placement, loads);
    layers.push_back({std::move(placement), std::move(gpu_loads)});
  }
  const std::string policy =
      workload::eplb_is_hierarchical(params, policy_of(options.policy)) ? "hierarchical" : "global";
  if (!options.out.empty()) io::write_text_file(options.out, result_json(file, params, policy, layers).dump() + "\n");
  if (options.json) {
    std::cout << result_json(file, params, policy, layers).dump() << '\n';
  } else {
    print_text(file, params, policy, layers);
  }
  return core::kExitOk;
}

}  // namespace

void add_sim_eplb(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eplb", "Replicate experts and place them on GPUs by load (EPLB)");
  auto options = std::make_shared<EplbOptions>();
  command
      ->add_option(
          "loads", options->file,
          "Loads of the experts: JSON ([..], [[..], ..] by layer, or an object with \"weight\" and the numbers "
          "below as \"num_replicas\", ...), or a routing trace (.h5)")
      ->required();
  command->add_option("--replicas", options->replicas, "Physical experts: all replicas of all experts");
  command->add_option("--groups", options->groups, "Groups of experts (default: the file's, else 1)");
  command->add_option("--nodes", options->nodes, "Nodes that the GPUs lie on (default: the file's, else 1)");
  command->add_option("--gpus", options->gpus, "GPUs");
  command
      ->add_option(
          "--policy", options->policy,
          "hierarchical (groups stay on one node), global, or auto: hierarchical if the nodes divide the groups")
      ->check(CLI::IsMember({"auto", "hierarchical", "global"}));
  command->add_option("--out", options->out, "Write the placement as JSON to this file");
  command->add_flag("--json", options->json, "Print the placement as JSON");
  command->callback([options, &action] { action = [options] { return run_sim_eplb(*options); }; });
}

}  // namespace lastbit::cli
