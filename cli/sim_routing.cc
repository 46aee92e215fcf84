// lastbit sim routing: which experts tokens choose, and what that sends where.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "io/atomic_file.h"
#include "io/routing_trace.h"
#include "model/config_file.h"
#include "sim/report/routing.h"
#include "sim/workload/eplb.h"
#include "sim/workload/expert_load.h"
#include "sim/workload/load_file.h"

namespace lastbit::cli {
namespace {

namespace workload = sim::workload;

struct RoutingOptions {
  std::string model;
  std::optional<int> experts;
  std::optional<int> top_k;
  std::optional<int> groups;
  std::optional<int> kept_groups;
  std::optional<int> hidden;
  bool no_node_limit = false;
  int gpus = 1;
  int nodes = 1;
  std::optional<std::int64_t> tokens;
  std::string load = "uniform";
  std::optional<std::int64_t> layer;
  std::string placement = "contiguous";
  std::optional<int> replicas;
  double dispatch_bytes = 1.03125;
  double combine_bytes = 2;
  std::uint64_t seed = 1;
  std::string out;
  std::string save_trace;
  bool json = false;
};

constexpr std::int64_t kTokensAGpu = 4096;

// What is routed, from the model and the options.
struct RoutedModel {
  int experts = 0;
  int hidden = 0;
  workload::ChoiceRule rule;
};

RoutedModel routed_model(const RoutingOptions& options) {
  RoutedModel result;
  std::optional<model::ModelConfig> config;
  if (!options.model.empty()) {
    config = model::load_model_config(options.model);
    if (config->n_routed_experts == 0) core::fail_input("{} has no routed experts", options.model);
  }
  const auto pick = [&config](const std::optional<int>& option, std::int64_t model::ModelConfig::*field,
                              const char* name, int otherwise) {
    if (option) return *option;
    if (config) return static_cast<int>((*config).*field);
    if (otherwise == 0) core::fail_input("{} is missing: give it, or a --model", name);
    return otherwise;
  };
  using Config = model::ModelConfig;
  result.experts = pick(options.experts, &Config::n_routed_experts, "--experts", 0);
  result.hidden = pick(options.hidden, &Config::hidden_size, "--hidden", 0);
  result.rule.top_k = pick(options.top_k, &Config::num_experts_per_tok, "--top-k", 0);
  result.rule.groups = pick(options.groups, &Config::n_group, "--groups", 1);
  result.rule.kept_groups = pick(options.kept_groups, &Config::topk_group, "--kept-groups", result.rule.groups);
  if (options.no_node_limit) result.rule.kept_groups = result.rule.groups;
  if (result.hidden < 1) core::fail_input("--hidden: found {}, expected at least 1", result.hidden);
  return result;
}

// What --load names, for one layer.
struct LoadSource {
  std::vector<double> loads;                     // [experts], sum 1
  std::optional<workload::RoutedTokens> tokens;  // recorded ones
  std::string what;                              // for people
};

std::size_t layer_place(const std::optional<std::int64_t>& layer, const std::vector<std::int64_t>& layers,
                        const std::string& file) {
  if (!layer) return 0;
  const auto found = std::find(layers.begin(), layers.end(), *layer);
  if (found == layers.end())
    core::fail_input("--layer: {} has no layer {}, expected one from {} to {}", file, *layer, layers.front(),
                     layers.back());
  return static_cast<std::size_t>(found - layers.begin());
}

LoadSource from_trace(const RoutingOptions& options, const RoutedModel& model) {
  const io::RoutingTrace trace = io::load_routing_trace(options.load);
  const std::size_t layer = layer_place(options.layer, trace.layers, options.load);
  const int groups = static_cast<int>(trace.groups);
  LoadSource source;
  source.loads = workload::resample_loads(workload::trace_loads(trace, options.load)[layer], model.experts, groups);
  const bool same = trace.experts == model.experts && trace.top_k == model.rule.top_k;
  const std::string recorded =
      fmt::format("{}, layer {}{}", options.load, trace.layers[layer],
                  same ? "" : fmt::format(", recorded with {} experts, top {}", trace.experts, trace.top_k));
  if (trace.choices.empty() || options.tokens) {
    source.what = "drawn by the loads of " + recorded;
    return source;
  }
  source.what = "replayed from " + recorded;
  source.tokens = workload::trace_tokens(trace, layer);
  if (!same)
    source.tokens = workload::segment_experts(*source.tokens, groups, model.experts, model.rule.top_k, options.seed);
  return source;
}

LoadSource from_file(const RoutingOptions& options, const RoutedModel& model) {
  const workload::LoadFile file = workload::read_load_file(options.load);
  const auto layer = static_cast<std::size_t>(options.layer.value_or(0));
  if (layer >= file.loads.size())
    core::fail_input("--layer: {} has {} layers, found {}", options.load, file.loads.size(), *options.layer);
  const std::vector<double>& loads = file.loads[layer];
  if (loads.size() != static_cast<std::size_t>(model.experts))
    core::fail_input("{}: loads of {} experts, expected {}", options.load, loads.size(), model.experts);
  return {workload::normalized_loads(loads, options.load), {}, "drawn by the loads of " + options.load};
}

LoadSource load_source(const RoutingOptions& options, const RoutedModel& model) {
  if (options.load.ends_with(".h5") || options.load.ends_with(".hdf5")) return from_trace(options, model);
  if (options.load.ends_with(".json")) return from_file(options, model);
  if (options.layer) core::fail_input("--layer chooses among a file's layers, but --load is '{}'", options.load);
  if (options.load == "uniform") return {workload::uniform_loads(model.experts), {}, "drawn, uniform"};
  if (options.load.starts_with("zipf:")) {
    double exponent = 0;
    const char* end = options.load.data() + options.load.size();
    const auto [stop, error] = std::from_chars(options.load.data() + 5, end, exponent);
    if (error == std::errc() && stop == end)
      return {workload::zipf_loads(model.experts, exponent, options.seed), {}, "drawn, " + options.load};
  }
  core::fail_input("--load: found '{}', expected uniform, zipf:EXPONENT, a .json file of loads or a .h5 routing trace",
                   options.load);
}

workload::Placement place(const RoutingOptions& options, const RoutedModel& model, const std::vector<double>& loads) {
  if (options.placement == "contiguous") {
    if (options.replicas && *options.replicas != model.experts)
      core::fail_input("--replicas: a contiguous placement has one replica an expert, {}, found {}", model.experts,
                       *options.replicas);
    return workload::contiguous_placement(model.experts, options.gpus, options.nodes);
  }
  workload::Placement placement = workload::eplb_placement(
      loads, {options.replicas.value_or(model.experts), model.rule.groups, options.nodes, options.gpus});
  if (placement.nodes != options.nodes)
    core::fail_input("placement: {} GPUs do not lie evenly on {} nodes", options.gpus, options.nodes);
  return placement;
}

std::string header(const RoutingOptions& options, const RoutedModel& model, std::int64_t tokens,
                   const std::string& what) {
  return fmt::format(
      "{} experts, top {}, {} of {} groups a token; {} GPUs on {} nodes, {} placement{}\n{} tokens {}\n\n",
      model.experts, model.rule.top_k, model.rule.kept_groups, model.rule.groups, options.gpus, options.nodes,
      options.placement, options.replicas ? fmt::format(", {} replicas", *options.replicas) : "", tokens, what);
}

// The tokens as a trace of one step of one layer.
void save_trace(const RoutingOptions& options, const RoutedModel& model, const workload::RoutedTokens& tokens,
                const std::string& what) {
  constexpr int kMostExperts = io::kNoExpert - 1;
  if (model.experts > kMostExperts)
    core::fail_input("--save-trace: a trace has at most {} experts, found {}", kMostExperts, model.experts);
  io::RoutingTrace trace;
  trace.source = "lastbit sim routing: " + what;
  trace.experts = model.experts;
  trace.top_k = model.rule.top_k;
  trace.groups = model.rule.groups;
  trace.kept_groups = model.rule.kept_groups;
  trace.layers = {options.layer.value_or(0)};
  std::vector<std::uint16_t> choices;
  choices.reserve(tokens.choices.size());
  for (const std::int32_t expert : tokens.choices)
    choices.push_back(expert < 0 ? io::kNoExpert : static_cast<std::uint16_t>(expert));
  io::append_step(trace, 0, choices, true);
  io::save_routing_trace(options.save_trace, trace);
}

int run_sim_routing(const RoutingOptions& options) {
  const RoutedModel model = routed_model(options);
  if (model.experts < 1) core::fail_input("--experts: found {}, expected at least 1", model.experts);
  LoadSource source = load_source(options, model);
  const workload::Placement placement = place(options, model, source.loads);
  if (!source.tokens) {
    const std::int64_t each = options.tokens.value_or(kTokensAGpu);
    if (each < 1 || each > INT32_MAX) core::fail_input("--tokens: found {}, expected 1 to {}", each, INT32_MAX);
    source.tokens = workload::draw_tokens(source.loads, model.rule, each * options.gpus, options.seed);
  }
  if (!options.save_trace.empty()) save_trace(options, model, *source.tokens, source.what);
  sim::report::RoutingSummary summary;
  summary.tokens = source.tokens->tokens();
  summary.traffic = workload::token_traffic(*source.tokens, placement);
  summary.bytes = {options.dispatch_bytes * model.hidden, options.combine_bytes * model.hidden};
  summary.loads = std::move(source.loads);
  if (options.load == "uniform" && options.placement == "contiguous")
    summary.expected = sim::report::uniform_reach(model.rule, model.experts, options.gpus, options.nodes);
  nlohmann::ordered_json report{{"schema_version", 1},
                                {"config",
                                 {{"experts", model.experts},
                                  {"top_k", model.rule.top_k},
                                  {"groups", model.rule.groups},
                                  {"kept_groups", model.rule.kept_groups},
                                  {"hidden", model.hidden},
                                  {"gpus", options.gpus},
                                  {"nodes", options.nodes},
                                  {"placement", options.placement},
                                  {"replicas", placement.slots()},
                                  {"load", options.load},
                                  {"seed", options.seed}}}};
  if (options.json || !options.out.empty()) report.update(sim::report::routing_json(summary));
  if (!options.out.empty()) io::write_text_file(options.out, report.dump() + "\n");
  if (options.json) {
    std::cout << report.dump() << '\n';
  } else {
    std::cout << header(options, model, summary.tokens, source.what) << sim::report::routing_text(summary);
  }
  return core::kExitOk;
}

void add_shape_options(CLI::App& command, RoutingOptions& options) {
  command.add_option("--model", options.model, "Take experts, top-k, groups and hidden size from this model");
  command.add_option("--experts", options.experts, "Routed experts of a layer");
  command.add_option("--top-k", options.top_k, "Experts that a token chooses");
  command.add_option("--groups", options.groups, "Groups of experts (default: 1)");
  command.add_option("--kept-groups", options.kept_groups, "Groups that a token chooses from (default: all)");
  command.add_flag("--no-node-limit", options.no_node_limit, "Choose from all groups");
  command.add_option("--hidden", options.hidden, "Elements of a token's vector");
  const auto range = CLI::Range(1, 4096);  // a matrix of GPUs x GPUs stays small
  command.add_option("--gpus", options.gpus, "GPUs that share a layer's experts")->required()->check(range);
  command.add_option("--nodes", options.nodes, "Nodes that they lie on")->required()->check(range);
}

}  // namespace

void add_sim_routing(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("routing", "Route tokens to experts: traffic by GPU, node and plane, imbalance");
  auto options = std::make_shared<RoutingOptions>();
  add_shape_options(*command, *options);
  command->add_option("--tokens", options->tokens,
                      "Tokens of each GPU, drawn (default: 4096, or those that a trace recorded)");
  command->add_option("--load", options->load,
                      "uniform, zipf:EXPONENT, a .json file of loads, or a .h5 routing trace (default: uniform)");
  command->add_option("--layer", options->layer, "Layer of the file of loads or of the trace (default: its first)");
  command->add_option("--placement", options->placement, "contiguous or eplb")
      ->check(CLI::IsMember({"contiguous", "eplb"}));
  command->add_option("--replicas", options->replicas, "Physical experts; eplb only (default: one an expert)");
  command->add_option("--dispatch-bytes", options->dispatch_bytes, "Bytes an element on the way out (default: 1.03125)")
      ->check(CLI::Range(0.0, 64.0));
  command->add_option("--combine-bytes", options->combine_bytes, "Bytes an element on the way back (default: 2)")
      ->check(CLI::Range(0.0, 64.0));
  command->add_option("--seed", options->seed, "Seed of all drawing (default: 1)")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  command->add_option("--out", options->out, "Write the answer with its matrices as JSON to this file");
  command->add_option("--save-trace", options->save_trace, "Also write the tokens' choices as a routing trace (.h5)");
  command->add_flag("--json", options->json, "Print the answer with its matrices as JSON");
  command->callback([options, &action] { action = [options] { return run_sim_routing(*options); }; });
}

}  // namespace lastbit::cli
