// lastbit sim network: flows that share links, from a scenario file.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "io/atomic_file.h"
#include "sim/network/scenario.h"
#include "sim/network/solve.h"

namespace lastbit::cli {
namespace {

namespace network = sim::network;

constexpr std::size_t kLinksShown = 8;

struct NetworkOptions {
  std::string scenario;
  std::string out;
  std::string sharing;
  bool no_fold = false;
  bool json = false;
  bool check = false;
  bool timing = false;
  int bins = 0;
  double tolerance = 1e-6;
};

nlohmann::ordered_json network_json(const network::Scenario& scenario, const network::Answer& answer, int bins) {
  nlohmann::ordered_json out;
  out["schema_version"] = 1;
  out["name"] = scenario.name;
  out["sharing"] = network::sharing_name(scenario.sharing);
  out["flows"] = scenario.flows.size();
  out["flow_classes"] = answer.flow_classes;
  out["components"] = answer.components;
  out["makespan_s"] = answer.makespan_s;
  out["completion_s"] = answer.completion_s;
  // By link, in the file's order.
  std::vector<double> utilisation;
  nlohmann::ordered_json over_time = nlohmann::ordered_json::array();
  for (std::size_t link = 0; link < scenario.links.size(); ++link) {
    utilisation.push_back(answer.utilisation(scenario.links, link));
    if (bins > 0)
      over_time.push_back(answer.utilisation_over_time(scenario.links, link, static_cast<std::size_t>(bins)));
  }
  out["link_bytes"] = answer.link_bytes;
  out["link_utilisation"] = std::move(utilisation);
  if (bins > 0) out["link_utilisation_over_time"] = std::move(over_time);
  return out;
}

void print_busiest(const network::Scenario& scenario, const network::Answer& answer) {
  std::vector<std::size_t> order(scenario.links.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return answer.utilisation(scenario.links, a) > answer.utilisation(scenario.links, b);
  });
  std::cout << fmt::format("\n{:>8}  {:<20}  {:>14}  {:>11}\n", "link", "name", "bytes", "utilisation");
  for (std::size_t i = 0; i < std::min(kLinksShown, order.size()); ++i) {
    const std::size_t link = order[i];
    std::cout << fmt::format("{:>8}  {:<20}  {:>14.6g}  {:>10.1f}%\n", scenario.link_ids[link],
                             scenario.link_names[link], answer.link_bytes[link],
                             100 * answer.utilisation(scenario.links, link));
  }
  if (order.size() > kLinksShown) std::cout << fmt::format("... and {} more links\n", order.size() - kLinksShown);
}

int run_sim_network(const NetworkOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration span) { return std::chrono::duration<double>(span).count(); };
  const Clock::time_point begin = Clock::now();
  network::Scenario scenario = network::load_scenario(options.scenario);
  if (!options.sharing.empty()) scenario.sharing = network::parse_sharing(options.sharing);
  if (options.check && scenario.expected_s.empty())
    core::fail_input("{}: has no 'expected.completion_s' to check against", options.scenario);
  const Clock::time_point loaded = Clock::now();
  const network::Answer answer = network::solve(
      scenario.links, scenario.flows, {.sharing = scenario.sharing, .fold = !options.no_fold, .bins = options.bins});
  if (options.timing)
    std::cerr << fmt::format("read in {:.4f} s, solved in {:.4f} s\n", seconds(loaded - begin),
                             seconds(Clock::now() - loaded));
  if (!options.out.empty() || options.json) {
    const std::string text = network_json(scenario, answer, options.bins).dump() + "\n";
    if (!options.out.empty()) io::write_text_file(options.out, text);
    if (options.json) std::cout << text;
  }
  if (!options.json) {
    std::cout << fmt::format("{}: {} flows in {} classes, {} links, {} components, sharing {}\n",
                             scenario.name.empty() ? options.scenario : scenario.name, scenario.flows.size(),
                             answer.flow_classes, scenario.links.size(), answer.components,
                             network::sharing_name(scenario.sharing));
    std::cout << fmt::format("makespan  {:.9g} s\n", answer.makespan_s);
    print_busiest(scenario, answer);
  }
  if (!options.check) return core::kExitOk;
  const double worst = network::worst_relative_difference(answer.completion_s, scenario.expected_s);
  const bool same = worst <= options.tolerance;
  (options.json ? std::cerr : std::cout) << fmt::format(
      "check     {}: completions differ by {:.3g} at most, relative; allowed {:.3g}\n", same ? "ok" : "FAILED", worst,
      options.tolerance);
  return same ? core::kExitOk : core::kExitCheckFailed;
}

}  // namespace

void add_sim_network(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("network", "Let the flows of a scenario share its links: completions, load");
  auto options = std::make_shared<NetworkOptions>();
  command->add_option("scenario", options->scenario, "JSON file with links and flows")->required();
  command->add_option("--out", options->out, "Write completions, makespan and the links' load here, as JSON");
  command->add_option("--sharing", options->sharing, "maxmin or inverse_latency (default: as the file says)");
  command->add_flag("--no-fold", options->no_fold, "Simulate every flow, though others be identical");
  command->add_option("--bins", options->bins, "Also report each link's utilisation over this many equal spans of time")
      ->check(CLI::Range(1, 100000));
  command->add_flag("--check", options->check,
                    "Compare with the completions that the file expects; exit code 1 if off");
  command->add_option("--tolerance", options->tolerance, "Largest relative difference that --check allows")
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--timing", options->timing, "Say on stderr how long it took to read and to solve");
  command->add_flag("--json", options->json, "Print the JSON of --out");
  command->callback([options, &action] { action = [options] { return run_sim_network(*options); }; });
}

}  // namespace lastbit::cli
