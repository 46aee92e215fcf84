// lastbit probe: the arithmetic of an unknown tensor core, from the outputs of a kernel.
#include "check/probe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "check/plugin.h"
#include "check/probe_text.h"
#include "cli/command.h"
#include "core/error.h"
#include "core/version.h"
#include "io/arrays.h"
#include "io/atomic_file.h"
#include "io/unit_file.h"
#include "numerics/parse.h"

namespace lastbit::cli {
namespace {

using check::ProbeAnswer;
using check::ProbeQuestion;
using numerics::Format;

struct ProbeOptions {
  std::vector<std::string> types{"e4m3"};
  std::vector<std::string> d_types{"f32"};
  std::int64_t k = 64;
  std::uint64_t seed = 1;
  std::string kind = "mma";
  std::string output_type = "f32";
  std::string plugin;
  std::string symbol = "lastbit_kernel";
  double time_limit = 60;
  std::string write_inputs;
  std::string outputs;
  std::string name = "probed";
  std::string out;
  bool as_json = false;
};

Format probe_format(const std::string& name, const std::vector<std::string>& known) {
  return numerics::require_format(known[numerics::require_name("type", name, known)]);
}

// Every pair of a type with itself, and of the two 8-bit types with each other, for every type of D.
std::vector<ProbeQuestion> questions_of(const ProbeOptions& options) {
  const std::vector<std::string> operands{"e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "f16", "bf16", "tf32"};
  std::vector<Format> types;
  for (const std::string& name : options.types) types.push_back(probe_format(name, operands));
  std::vector<ProbeQuestion> questions;
  for (const std::string& d : options.d_types)
    for (const Format a : types)
      for (const Format b : types) {
        const bool both_bytes = numerics::describe(a).storage_bytes == 1 && numerics::describe(b).storage_bytes == 1;
        if (a == b || (both_bytes && a < b)) questions.push_back({a, b, probe_format(d, {"f32", "f16"}), options.k});
      }
  return questions;
}

struct Probed {
  ProbeQuestion question;
  std::optional<ProbeAnswer> answer;  // none: the kernel does not support it
  std::vector<numerics::Promotion> promotions;
};

int write_probe_inputs(const ProbeOptions& options, const std::vector<ProbeQuestion>& questions) {
  tensor::NamedTensors arrays;
  for (const ProbeQuestion& question : questions)
    for (const auto& [name, tensor] : check::probe_inputs(question, options.seed))
      arrays.emplace(question.name() + "/" + name, tensor);
  io::save_arrays(options.write_inputs, arrays);
  std::cout << fmt::format("{} arrays in {}: d[i] = a[i, :] . b[i, :] + c[i] wanted as PAIR/d of the same length\n",
                           arrays.size(), options.write_inputs);
  return core::kExitOk;
}

std::vector<Probed> probe_file(const ProbeOptions& options, const std::vector<ProbeQuestion>& questions) {
  const tensor::NamedTensors outputs = io::load_arrays(options.outputs);
  std::vector<Probed> all;
  for (const ProbeQuestion& question : questions) {
    const auto found = outputs.find(question.name() + "/d");
    if (found == outputs.end())
      core::fail_input("{}: has no array '{}/d', expected the outputs for the inputs of --write-inputs",
                       options.outputs, question.name());
    all.push_back(
        {question, check::infer_rule(question, check::probe_inputs(question, options.seed), found->second), {}});
  }
  return all;
}

std::vector<Probed> probe_plugin(const ProbeOptions& options, const std::vector<ProbeQuestion>& questions) {
  check::PluginOptions plugin;
  plugin.library = options.plugin;
  plugin.symbol = options.symbol;
  plugin.time_limit_s = options.time_limit;
  plugin.runs = 1;
  const check::Implementation kernel = check::plugin_implementation(plugin);
  std::vector<Probed> all;
  for (const ProbeQuestion& question : questions) {
    if (options.kind == "mma") {
      all.push_back({question, check::probe_mma(question, kernel, options.seed), {}});
      continue;
    }
    const std::optional<check::GemmProbeAnswer> answer =
        check::probe_gemm(question, probe_format(options.output_type, {"f32", "bf16"}), kernel, options.seed);
    all.push_back({question, std::nullopt, {}});
    if (answer) all.back() = {question, answer->rule, answer->promotions};
  }
  return all;
}

void print_probed(const ProbeOptions& options, const std::vector<Probed>& all) {
  for (const auto& [question, answer, promotions] : all) {
    std::cout << fmt::format("{} x {} -> {}\n", numerics::name(question.a), numerics::name(question.b),
                             numerics::name(question.d));
    if (!answer) {
      std::cout << "  the kernel does not support it\n";
      continue;
    }
    std::cout << fmt::format("  {}: {} of {} answers\n",
                             answer->found ? check::rule_text(answer->row) : "no rule gives all answers",
                             answer->matched, answer->records);
    if (!answer->found) std::cout << fmt::format("  closest: {}\n", check::rule_text(answer->row));
    const std::vector<std::string> names =
        answer->found ? check::known_as(question, answer->row) : std::vector<std::string>{};
    if (!names.empty()) std::cout << fmt::format("  known as {}\n", fmt::join(names, ", "));
    if (options.kind == "gemm" && answer->found)
      std::cout << fmt::format("  promotion: {}\n", check::promotion_text(promotions));
    for (const std::string& text : answer->observations) std::cout << "  " << text << '\n';
  }
}

nlohmann::json probed_json(const ProbeOptions& options, const std::vector<Probed>& all) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& [question, answer, promotions] : all) {
    nlohmann::json entry{{"a", numerics::name(question.a)},
                         {"b", numerics::name(question.b)},
                         {"d", numerics::name(question.d)},
                         {"supported", answer.has_value()}};
    if (answer) {
      const numerics::UnitRow& row = answer->row;
      entry.update({{"found", answer->found},
                    {"records", answer->records},
                    {"matched", answer->matched},
                    {"accumulation", numerics::to_string(row.accumulation)},
                    {"fraction_bits", row.fraction_bits},
                    {"step_k", row.step_k},
                    {"output_grid", numerics::name(row.output_grid)},
                    {"output_rounding", row.output_rounding == numerics::Rounding::kTowardZero ? "zero" : "nearest"},
                    {"known_as", check::known_as(question, row)},
                    {"observations", answer->observations}});
      nlohmann::json orders = nlohmann::json::array();
      for (const numerics::Promotion& promotion : promotions)
        orders.push_back({{"order", numerics::to_string(promotion.order)}, {"every", promotion.every}});
      if (options.kind == "gemm") entry["promotions"] = orders;
    }
    rows.push_back(entry);
  }
  return {{"schema", 1},
          {"generator", fmt::format("lastbit {}", core::version())},
          {"seed", options.seed},
          {"k", options.k},
          {"rows", rows}};
}

// Writes the unit file of what was found; how many rows it has.
std::size_t write_unit(const ProbeOptions& options, const std::vector<Probed>& all) {
  std::vector<numerics::UnitRow> rows;
  bool mixed = false;
  for (const auto& [question, answer, promotions] : all) {
    if (!answer || !answer->found) continue;
    rows.push_back(answer->row);
    rows.back().operands = {question.a};
    if (question.b != question.a) {
      rows.back().operands.push_back(question.b);
      mixed = true;
    }
  }
  if (rows.empty()) return 0;
  numerics::Unit unit = check::unit_of_rows(options.name, rows, mixed);
  unit.provenance = fmt::format("lastbit {} probe, K {}, seed {}", core::version(), options.k, options.seed);
  io::write_text_file(options.out, io::unit_toml(unit));
  return unit.rows.size();
}

int run_probe(const ProbeOptions& options) {
  const std::vector<ProbeQuestion> questions = questions_of(options);
  if (options.name.empty() || options.name.find_first_of("+:") != std::string::npos)
    core::fail_input("--name {}: expected a name without '+' and ':'", options.name);
  const int doors =
      (options.plugin.empty() ? 0 : 1) + (options.outputs.empty() ? 0 : 1) + (options.write_inputs.empty() ? 0 : 1);
  if (doors != 1) core::fail_input("probe: expected one of --plugin, --write-inputs and --outputs");
  if (!options.write_inputs.empty()) return write_probe_inputs(options, questions);
  if (options.kind == "gemm" && options.plugin.empty()) core::fail_input("probe: --kind gemm wants --plugin");
  const std::vector<Probed> all =
      options.outputs.empty() ? probe_plugin(options, questions) : probe_file(options, questions);
  if (options.as_json)
    std::cout << probed_json(options, all).dump(2) << '\n';
  else
    print_probed(options, all);
  if (!options.out.empty()) {
    const std::size_t rows = write_unit(options, all);
    if (!options.as_json && rows > 0)
      std::cout << fmt::format("\nunit {} with {} rows in {}\n", options.name, rows, options.out);
    if (rows == 0) std::cerr << "nothing was found: " << options.out << " is not written\n";
  }
  const bool found = std::ranges::all_of(all, [](const Probed& one) { return !one.answer || one.answer->found; }) &&
                     std::ranges::any_of(all, [](const Probed& one) { return one.answer.has_value(); });
  return found ? core::kExitOk : core::kExitCheckFailed;
}

}  // namespace

void add_probe(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("probe", "Infer a tensor core's arithmetic from a kernel's outputs, as a unit file");
  const auto options = std::make_shared<ProbeOptions>();
  command
      ->add_option("--types", options->types,
                   "Operand types, several with commas: e4m3, e5m2, e4m3fnuz, e5m2fnuz, f16, bf16, tf32")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--d-types", options->d_types, "Types of C and D: f32, f16")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--k", options->k, "Elements of K of a dot: the instruction's, or more for a chain of them")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{128}))
      ->capture_default_str();
  command
      ->add_option("--kind", options->kind,
                   "mma: the plugin has contract mma; gemm: fp8_gemm or bf16_gemm, promotion is found too")
      ->check(CLI::IsMember({"mma", "gemm"}))
      ->capture_default_str();
  command->add_option("--output-type", options->output_type, "With --kind gemm: D's type, f32 or bf16")
      ->capture_default_str();
  command->add_option("--plugin", options->plugin,
                      "The kernel: a shared library with a function of check/kernel_plugin.h");
  command->add_option("--symbol", options->symbol, "The function's name")->capture_default_str();
  command->add_option("--time-limit", options->time_limit, "Seconds for one call")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--write-inputs", options->write_inputs, "Write the inputs (.npz, .safetensors, .h5) and stop");
  command->add_option("--outputs", options->outputs,
                      "The kernel: what it answered to the inputs of the same types, K and seed");
  command->add_option("--seed", options->seed, "Seed of the inputs")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--name", options->name, "Of the unit")->capture_default_str();
  command->add_option("--out", options->out, "Unit file (TOML) to write");
  command->add_flag("--json", options->as_json, "Print the result as JSON");
  command->callback([options, &action] { action = [options] { return run_probe(*options); }; });
}

}  // namespace lastbit::cli
