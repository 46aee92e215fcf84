// lastbit sim cluster: what a cluster description comes to, and a picture of its fabric.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "io/atomic_file.h"
#include "sim/cluster/cluster.h"
#include "sim/network/drawing.h"
#include "sim/network/fabric.h"
#include "sim/network/inventory.h"
#include "sim/network/router.h"

namespace lastbit::cli {
namespace {

namespace network = sim::network;

struct ClusterOptions {
  std::string cluster;
  std::vector<std::string> settings;
  std::string svg;
  std::string rates = "attainable";
  std::vector<std::uint32_t> route;
  bool links = false;
  bool json = false;
};

void print_summary(const network::Fabric& fabric) {
  const sim::cluster::Cluster& cluster = fabric.cluster();
  const network::Inventory count = network::take_inventory(fabric);
  std::cout << fmt::format("{}: {} nodes of {} {}, {} GPUs\n", cluster.name, cluster.nodes, cluster.node.gpus,
                           cluster.gpu.name, cluster.gpus());
  std::cout << fmt::format("fabric    {}, {} plane{} or rail{}, routing {}\n", cluster.network.fabric,
                           cluster.network.planes, cluster.network.planes == 1 ? "" : "s",
                           cluster.network.planes == 1 ? "" : "s", network::routing_name(cluster.network.routing));
  std::cout << fmt::format("switches  {}: {} leaves, {} spines, {} cores, {} routers\n", count.switches(), count.leaves,
                           count.spines, count.cores, count.routers);
  std::cout << fmt::format("cables    {} to NICs, {} between switches\n", count.nic_cables, count.switch_cables);
  if (count.failed_links > 0) std::cout << fmt::format("failed    {} links (one direction each)\n", count.failed_links);
  std::cout << fmt::format("NVLink    {:.6g} GB/s a GPU and direction, NIC {:.6g} GB/s, switch link {:.6g} GB/s\n",
                           1e-9 * count.nvlink, 1e-9 * count.nic, 1e-9 * count.switch_link);
}

nlohmann::ordered_json summary_json(const network::Fabric& fabric) {
  const sim::cluster::Cluster& cluster = fabric.cluster();
  const network::Inventory count = network::take_inventory(fabric);
  return {{"schema_version", 1},
          {"name", cluster.name},
          {"nodes", cluster.nodes},
          {"gpus", cluster.gpus()},
          {"nics", cluster.nics()},
          {"fabric", cluster.network.fabric},
          {"planes", cluster.network.planes},
          {"routing", network::routing_name(cluster.network.routing)},
          {"leaves", count.leaves},
          {"spines", count.spines},
          {"cores", count.cores},
          {"routers", count.routers},
          {"nic_cables", count.nic_cables},
          {"switch_cables", count.switch_cables},
          {"failed_links", count.failed_links},
          {"nvlink_Bps", count.nvlink},
          {"nic_Bps", count.nic},
          {"switch_link_Bps", count.switch_link}};
}

void print_route(const network::Fabric& fabric, std::uint32_t from, std::uint32_t to) {
  network::Router router(fabric);
  std::vector<std::uint32_t> route;
  router.route(from, to, 0, route);
  for (const std::uint32_t link : route) {
    std::cout << fmt::format("{:<16} {:>9.6g} GB/s {:>7.4g} us\n", fabric.table().name(link),
                             1e-9 * fabric.links().capacity[link], 1e6 * fabric.links().latency_s[link]);
  }
  std::cout << fmt::format("GPU {} to GPU {}: {} links, {:.4g} us\n", from, to, route.size(),
                           1e6 * network::route_latency(fabric.links(), route));
}

int run_sim_cluster(const ClusterOptions& options) {
  const sim::cluster::Cluster cluster =
      sim::cluster::load_cluster(options.cluster, sim::cluster::parse_overrides(options.settings));
  const network::Fabric fabric(cluster, network::parse_rates(options.rates));
  if (!options.svg.empty()) io::write_text_file(options.svg, network::draw_svg(fabric));
  if (!options.route.empty()) {
    print_route(fabric, options.route[0], options.route[1]);
  } else if (options.links) {
    for (std::uint32_t link = 0; link < fabric.links().size(); ++link) std::cout << fabric.table().name(link) << '\n';
  } else if (options.json) {
    std::cout << summary_json(fabric).dump() << '\n';
  } else {
    print_summary(fabric);
  }
  return core::kExitOk;
}

}  // namespace

void add_sim_cluster(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("cluster", "Show a cluster: sizes of its fabric, a picture, a route");
  auto options = std::make_shared<ClusterOptions>();
  command->add_option("cluster", options->cluster, "Preset (lastbit presets) or TOML or JSON file")->required();
  command
      ->add_option("--set", options->settings, "Change a key, e.g. cluster.network.routing=adaptive; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--svg", options->svg, "Draw the fabric here");
  command->add_option("--rates", options->rates, "peak, attainable or messages (default: attainable)");
  CLI::Option* route =
      command->add_option("--route", options->route, "Print the links from one GPU to another: --route 0 9")
          ->expected(2);
  command->add_flag("--links", options->links, "List the names of all links, as failed_links takes them")
      ->excludes(route);
  command->add_flag("--json", options->json, "Print the sizes as JSON")->excludes(route);
  command->callback([options, &action] { action = [options] { return run_sim_cluster(*options); }; });
}

}  // namespace lastbit::cli
