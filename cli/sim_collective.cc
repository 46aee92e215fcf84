// lastbit sim collective: how long a collective operation takes on a cluster's fabric.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "sim/cluster/cluster.h"
#include "sim/cluster/quantity.h"
#include "sim/network/collective.h"
#include "sim/network/expert_parallel.h"
#include "sim/network/fabric.h"
#include "sim/network/ranks.h"
#include "sim/network/router.h"

namespace lastbit::cli {
namespace {

namespace network = sim::network;

struct CollectiveOptions {
  std::string kind;
  std::string cluster;
  std::vector<std::string> settings;
  std::string ranks;
  std::string groups = "1";
  std::string bytes;
  std::string algorithm = "auto";
  std::string rates;
  std::uint64_t seed = 0;
  bool no_fold = false;
  bool json = false;
  // Dispatch and combine; the defaults are DeepSeek-V3's.
  std::string mode = "forwarded";
  double tokens = 4096;
  double hidden = 7168;
  std::string format;
  double experts = 256;
  double top_k = 8;
  double expert_groups = 8;
  double kept_groups = 4;
  bool own_copies = false;
};

struct CollectiveReport {
  network::CollectiveTime time;
  std::vector<network::Phase> phases;
  std::size_t ranks = 0;
  std::size_t groups = 0;
  std::string algorithm;
  double bytes = 0;  // what rates are counted from
  double bus_bytes = 0;
  double most_nvlink_bytes = 0;  // out of one GPU
  double most_nic_bytes = 0;     // out of one NIC
  double nic_copies_per_token = -1;
};

network::ExpertParallel expert_setting(const CollectiveOptions& options) {
  network::ExpertParallel setting;
  setting.mode = network::parse_dispatch_mode(options.mode);
  setting.combine = options.kind == "combine";
  setting.own_copies = options.own_copies;
  setting.tokens = options.tokens;
  setting.token_bytes = network::token_bytes(
      options.hidden, options.format.empty() ? (setting.combine ? "bf16" : "fp8") : options.format);
  setting.routing.experts = options.experts;
  setting.routing.top_k = options.top_k;
  setting.routing.groups = options.expert_groups;
  setting.routing.kept_groups = options.kept_groups;
  return setting;
}

double parse_bytes(const std::string& text) {
  if (text.empty()) core::fail_input("--bytes is missing: the size of a rank's buffer, such as 64MiB");
  const bool plain = text.find_first_not_of("0123456789.eE+") == std::string::npos;  // the option's name is the unit
  const double bytes =
      sim::cluster::parse_quantity(plain ? text + " B" : text, sim::cluster::Dimension::kBytes, "--bytes");
  constexpr double kMost = 1e18;
  if (!(bytes > 0 && bytes <= kMost))
    core::fail_input("--bytes: found '{}', expected more than 0 B and at most {} B", text, kMost);
  return bytes;
}

void measure_links(const network::Fabric& fabric, CollectiveReport& report) {
  const std::vector<double>& bytes = report.time.link_bytes;
  for (std::uint32_t gpu = 0; gpu < fabric.num_gpus(); ++gpu)
    report.most_nvlink_bytes = std::max(report.most_nvlink_bytes, bytes[2 * gpu]);
  for (std::uint32_t link = fabric.first_nic_link(); link < fabric.first_switch_link(); link += 2)
    report.most_nic_bytes = std::max(report.most_nic_bytes, bytes[link]);
}

CollectiveReport measure(const CollectiveOptions& options) {
  const bool experts = options.kind == "dispatch" || options.kind == "combine";
  const sim::cluster::Cluster cluster =
      sim::cluster::load_cluster(options.cluster, sim::cluster::parse_overrides(options.settings));
  const std::string rates = options.rates.empty() ? (experts ? "messages" : "attainable") : options.rates;
  const network::Fabric fabric(cluster, network::parse_rates(rates));
  network::Router router(fabric, options.seed);
  const network::Groups groups = network::parse_groups(options.ranks, options.groups, fabric);
  CollectiveReport report;
  report.ranks = groups.front().size();
  report.groups = groups.size();
  if (experts) {
    const network::ExpertParallel setting = expert_setting(options);
    report.phases.push_back(network::expert_parallel_phase(setting, groups, fabric, router));
    report.algorithm = options.mode;
    const std::size_t nodes = network::nodes_of(groups.front(), fabric);
    report.bytes =
        setting.tokens * setting.token_bytes * network::logical_copies_per_token(setting, report.ranks, nodes);
    report.bus_bytes = report.bytes;
    report.nic_copies_per_token = network::nic_copies_per_token(setting, report.ranks, nodes);
  } else {
    const network::CollectiveKind kind = network::parse_collective(options.kind);
    const network::Algorithm algorithm = network::parse_algorithm(options.algorithm, kind);
    report.bytes = parse_bytes(options.bytes);
    report.bus_bytes = report.bytes * network::bus_factor(kind, report.ranks);
    report.phases = network::collective_phases({kind, algorithm, report.bytes}, groups, fabric, router);
    report.algorithm = network::algorithm_name(algorithm);
  }
  report.time = network::run_phases(fabric, report.phases, {.fold = !options.no_fold});
  measure_links(fabric, report);
  return report;
}

nlohmann::ordered_json report_json(const CollectiveOptions& options, const CollectiveReport& report) {
  nlohmann::ordered_json out;
  out["schema_version"] = 1;
  out["kind"] = options.kind;
  out["algorithm"] = report.algorithm;
  out["seed"] = options.seed;
  out["ranks"] = report.ranks;
  out["groups"] = report.groups;
  out["bytes"] = report.bytes;
  out["time_s"] = report.time.seconds;
  out["algorithm_Bps"] = report.bytes / report.time.seconds;
  out["bus_Bps"] = report.bus_bytes / report.time.seconds;
  out["most_nvlink_bytes"] = report.most_nvlink_bytes;
  out["most_nic_bytes"] = report.most_nic_bytes;
  if (report.nic_copies_per_token >= 0) out["nic_copies_per_token"] = report.nic_copies_per_token;
  out["flows"] = report.time.flows;
  out["flow_classes"] = report.time.flow_classes;
  for (std::size_t i = 0; i < report.phases.size(); ++i)
    out["phases"].push_back(
        {{"name", report.phases[i].name}, {"repeats", report.phases[i].repeats}, {"time_s", report.time.phase_s[i]}});
  return out;
}

void print_report(const CollectiveOptions& options, const CollectiveReport& report) {
  std::cout << fmt::format("{} ({}) of {} ranks{}: {} flows in {} classes\n", options.kind, report.algorithm,
                           report.ranks, report.groups == 1 ? "" : fmt::format(", {} groups at once", report.groups),
                           report.time.flows, report.time.flow_classes);
  for (std::size_t i = 0; i < report.phases.size(); ++i)
    std::cout << fmt::format("{:<26} {:>4} x {:>12.4f} us\n", report.phases[i].name, report.phases[i].repeats,
                             1e6 * report.time.phase_s[i] / report.phases[i].repeats);
  std::cout << fmt::format("time       {:.4f} us\n", 1e6 * report.time.seconds);
  std::cout << fmt::format("rate       {:.2f} GB/s of {:.6g} bytes", 1e-9 * report.bytes / report.time.seconds,
                           report.bytes);
  if (report.bus_bytes != report.bytes)
    std::cout << fmt::format(", bus bandwidth {:.2f} GB/s", 1e-9 * report.bus_bytes / report.time.seconds);
  std::cout << fmt::format("\nbusiest    NVLink of a GPU {:.6g} bytes out, NIC {:.6g} bytes out\n",
                           report.most_nvlink_bytes, report.most_nic_bytes);
  if (report.nic_copies_per_token >= 0)
    std::cout << fmt::format("IB         {:.6g} copies of a token leave a rank, by the closed form\n",
                             report.nic_copies_per_token);
}

int run_sim_collective(const CollectiveOptions& options) {
  const CollectiveReport report = measure(options);
  if (options.json) {
    std::cout << report_json(options, report).dump() << '\n';
  } else {
    print_report(options, report);
  }
  return core::kExitOk;
}

}  // namespace

void add_sim_collective(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("collective", "Time a collective operation on a cluster's fabric");
  auto options = std::make_shared<CollectiveOptions>();
  command
      ->add_option("--kind", options->kind,
                   "alltoall, allgather, reducescatter, allreduce, broadcast, p2p, dispatch or combine")
      ->required();
  command->add_option("--cluster", options->cluster, "Preset (lastbit presets) or TOML or JSON file")->required();
  command->add_option("--ranks", options->ranks, "GPUs of a group: a number N (the first N), or a list as 0-7,16-23")
      ->required();
  command->add_option("--groups", options->groups, "Groups of N ranks that run at once, or all (default: 1)");
  command->add_option("--bytes", options->bytes, "A rank's buffer, as nccl-tests count it: 1000000 or 64MiB");
  command->add_option("--algorithm", options->algorithm, "auto, flat, ring, tree or nvls (default: auto)");
  command->add_option("--rates", options->rates,
                      "peak, attainable or messages (default: attainable; messages for dispatch and combine)");
  command
      ->add_option("--set", options->settings, "Change a key, e.g. cluster.network.routing=adaptive; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--seed", options->seed, "Seed of the hash of ECMP (default: 0)")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  command->add_flag("--no-fold", options->no_fold, "Simulate every flow, though others be identical");
  command->add_flag("--json", options->json, "Print JSON");
  const auto number = CLI::Range(1.0, 1e12);
  command->add_option("--mode", options->mode, "Dispatch: forwarded, flat or low-latency (default: forwarded)");
  command->add_option("--tokens", options->tokens, "Dispatch: tokens of a rank (default: 4096)")->check(number);
  command->add_option("--hidden", options->hidden, "Dispatch: elements of a token (default: 7168)")->check(number);
  command->add_option("--format", options->format, "Dispatch: fp8 (with scales) or bf16 (default: fp8; combine bf16)");
  command->add_option("--experts", options->experts, "Dispatch: routed experts (default: 256)")->check(number);
  command->add_option("--top-k", options->top_k, "Dispatch: experts of a token (default: 8)")->check(number);
  command->add_option("--expert-groups", options->expert_groups, "Dispatch: groups of experts (default: 8)")
      ->check(number);
  command->add_option("--kept-groups", options->kept_groups, "Dispatch: groups a token may use (default: 4)")
      ->check(number);
  command->add_flag("--own-copies", options->own_copies, "Dispatch: tokens for the own rank take the NVLink port, too");
  command->callback([options, &action] { action = [options] { return run_sim_collective(*options); }; });
}

}  // namespace lastbit::cli
