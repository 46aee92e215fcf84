// lastbit check kernel: somebody's kernel against its contract, through a shared library or through files.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "check/kernel_pack.h"
#include "check/plugin.h"
#include "check/validation.h"
#include "check/validation_report.h"
#include "check/validation_words.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "core/error.h"
#include "core/version.h"
#include "io/atomic_file.h"
#if defined(LASTBIT_EXECUTOR) || defined(LASTBIT_GPU)
#include "kernels/contracts/kernel_registry.h"
#endif

namespace lastbit::cli {
namespace {

using check::Contract;
using check::Validation;

struct CheckKernelOptions {
  std::string contract;
  std::vector<std::string> settings;
  std::vector<std::string> shapes;
  std::vector<std::string> families;
  std::uint64_t seed = 1;
  std::string tolerance;
  std::string plugin;
  std::string symbol = "lastbit_kernel";
  double time_limit = 60;
  std::string implementation;
  std::string pack;
  std::string outputs;
  std::string write_pack;
  std::string junit;
  std::string html;
  bool expected = false;
  bool no_diagnosis = false;
  bool list = false;
  bool describe = false;
  bool as_json = false;
};

check::OpSettings parse_settings(const std::vector<std::string>& words) {
  check::OpSettings settings;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) core::fail_input("--set: found '{}', expected KEY=VALUE", word);
    settings[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return settings;
}

check::ValidationRequest request_of(const CheckKernelOptions& options) {
  check::ValidationRequest request;
  if (!options.pack.empty()) {
    request = check::read_kernel_pack(options.pack);
    if (!options.contract.empty() && options.contract != request.contract->name)
      core::fail_input("{}: was written for contract {}, found {}", options.pack, request.contract->name,
                       options.contract);
    if (!options.settings.empty() || !options.shapes.empty() || !options.families.empty())
      core::fail_input("check kernel: --pack says settings, shapes and families; expected none beside it");
  } else {
    if (options.contract.empty()) core::fail_input("check kernel: expected a contract; --list shows all");
    request =
        check::read_request({options.contract, parse_settings(options.settings), options.shapes, options.families});
    request.seed = options.seed;
  }
  if (!options.tolerance.empty()) request.tolerance = check::read_tolerance(options.tolerance);
  request.diagnose = !options.no_diagnosis;
  return request;
}

// One of Lastbit's own: of the library, or a kernel of kernels/ on the executor or, in a build for one, the GPU.
check::Implementation own_implementation(const std::string& contract, const std::string& name) {
#if defined(LASTBIT_EXECUTOR) || defined(LASTBIT_GPU)
  if (const auto kernel = kernels::find_kernel(contract, name)) return *kernel;
#else
  (void)contract;
#endif
  return check::find_implementation(name);
}

check::Implementation candidate_of(const CheckKernelOptions& options, const check::ValidationRequest& request) {
  const int doors =
      (options.plugin.empty() ? 0 : 1) + (options.outputs.empty() ? 0 : 1) + (options.implementation.empty() ? 0 : 1);
  if (doors != 1)
    core::fail_input("check kernel: found {} candidates, expected one of --plugin, --outputs and --implementation",
                     doors);
  if (!options.outputs.empty()) return check::file_implementation(options.outputs, request);
  if (!options.implementation.empty()) return own_implementation(options.contract, options.implementation);
  check::PluginOptions plugin;
  plugin.library = options.plugin;
  plugin.symbol = options.symbol;
  plugin.time_limit_s = options.time_limit;
  return check::plugin_implementation(plugin);
}

int list_contracts() {
  for (const Contract& contract : check::contract_registry())
    std::cout << fmt::format("{:<28} {:<34} {}\n", contract.name, fmt::format("{}", fmt::join(contract.axes, "x")),
                             contract.description);
  return core::kExitOk;
}

void print_arrays(const char* title, const std::vector<check::ContractArray>& arrays) {
  std::cout << fmt::format("\n{}\n", title);
  for (const check::ContractArray& array : arrays)
    std::cout << fmt::format("  {:<14} {:<14} {:<30} {}\n", array.name,
                             array.dtype.starts_with('=') ? "(" + array.dtype.substr(1) + ")" : array.dtype,
                             array.shape, array.meaning);
}

int describe_contract(const Contract& contract) {
  std::cout << fmt::format("{}: {}\n\nShapes  {}; without --shapes:", contract.name, contract.description,
                           fmt::join(contract.axes, "x"));
  for (const tensor::Shape& shape : contract.shapes) std::cout << fmt::format(" {}", fmt::join(shape, "x"));
  std::cout << '\n';
  print_arrays("Inputs", contract.inputs);
  std::vector<check::ContractArray> outputs;
  for (const check::ContractOutput& output : contract.outputs) outputs.push_back(output.array);
  print_arrays("Outputs", outputs);
  std::cout << "\nTolerance\n";
  for (const check::ContractOutput& output : contract.outputs)
    std::cout << fmt::format("  {:<14} {:<14} {}\n", output.array.name, check::describe_tolerance(output),
                             output.derivation);
  if (!contract.settings.empty()) std::cout << "\nSettings, --set KEY=VALUE, and what holds without them\n";
  for (const check::OpSetting& setting : contract.settings) {
    const std::string choices = setting.choices.empty() ? "" : fmt::format(" ({})", fmt::join(setting.choices, ", "));
    std::cout << fmt::format("  {:<30} {}{}\n", setting.key + "=" + setting.fallback, setting.meaning, choices);
  }
  std::cout << "\nFamilies of inputs\n";
  for (const std::string& family : contract.families)
    std::cout << fmt::format("  {:<14} {}\n", family, check::describe_family(family));
  return core::kExitOk;
}

int write_pack(const CheckKernelOptions& options, const check::ValidationRequest& request) {
  const check::PackSummary summary = check::write_kernel_pack(request, options.write_pack, options.expected);
  std::cout << fmt::format("{} cases, {} arrays, {:.1f} MB in {}\n", summary.cases, summary.arrays,
                           static_cast<double>(summary.bytes) / 1e6, options.write_pack);
  return core::kExitOk;
}

int run_check_kernel(const CheckKernelOptions& options) {
  if (options.list) return list_contracts();
  if (options.describe) return describe_contract(check::find_contract(options.contract));
  const check::ValidationRequest request = request_of(options);
  if (!options.write_pack.empty()) return write_pack(options, request);
  const check::Implementation candidate = candidate_of(options, request);
  Progress progress("checking", "cases");
  const Validation validation = check::validate(request, candidate, [&](std::int64_t done, std::int64_t of) {
    progress.show(static_cast<double>(done), static_cast<double>(of));
  });
  progress.finish();
  if (!options.junit.empty()) io::write_text_file(options.junit, check::validation_junit(validation));
  if (!options.html.empty()) io::write_text_file(options.html, check::validation_html(validation));
  if (options.as_json)
    std::cout << check::validation_json(validation).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  else
    std::cout << check::validation_text(validation);
  return validation.passed() ? core::kExitOk : core::kExitCheckFailed;
}

void add_candidate_options(CLI::App& command, const std::shared_ptr<CheckKernelOptions>& options) {
  command.add_option("--plugin", options->plugin,
                     "The candidate: a shared library with a function of check/kernel_plugin.h");
  command.add_option("--symbol", options->symbol, "The function's name")->capture_default_str();
  command.add_option("--time-limit", options->time_limit, "Seconds that a case may take in the plugin")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--outputs", options->outputs,
                     "The candidate: outputs CASE/OUTPUT that it wrote (.npz, .safetensors, .h5), of --pack");
  command.add_option("--pack", options->pack, "The pack whose inputs they answer");
  command.add_option(
      "--implementation", options->implementation,
      "The candidate: one of Lastbit's own, reference or plain, or of its CUDA kernels v0, tuned or NAME:tuned, "
      "which run on an executor on the CPU or, in a build for one, on the GPU");
  command.add_option("--write-pack", options->write_pack, "Write the inputs to this file and stop");
  command.add_flag("--expected", options->expected, "With --write-pack: the reference's results, too");
}

}  // namespace

void add_check_kernel(CLI::App& check, Action& action) {
  CLI::App* command = check.add_subcommand("kernel", "Hold a kernel against its contract, and say why it differs");
  const auto options = std::make_shared<CheckKernelOptions>();
  command->add_option("CONTRACT", options->contract, "fp8_gemm, quantize_1x128, mla_decode, ...: see --list");
  command->add_flag("--list", options->list, "List all contracts and their axes");
  command->add_flag("--describe", options->describe, "Print the contract: arrays, tolerances, settings, families");
  command->add_option("--set", options->settings, "A setting of the contract, KEY=VALUE");
  command
      ->add_option(
          "--shapes", options->shapes,
          "Sizes of the axes, several with commas: 64x128x256; v3: the linear layers of DeepSeek-V3 at M = 1, 64 "
          "and 4096")
      ->delimiter(',');
  command->add_option("--families", options->families, "Kinds of inputs, several with commas (default: all)")
      ->delimiter(',');
  command->add_option("--seed", options->seed, "Seed of all inputs")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--tolerance", options->tolerance,
                      "Instead of the contract's, for all outputs: bitwise, ulp=N, abs=X or rel=X");
  add_candidate_options(*command, options);
  command->add_flag("--no-diagnosis", options->no_diagnosis, "Do not look for causes");
  command->add_option("--junit", options->junit, "Write the result as JUnit XML");
  command->add_option("--html", options->html, "Write a page with error maps and histograms");
  command->add_flag("--json", options->as_json, "Print the report as JSON");
  command->callback([options, &action] { action = [options] { return run_check_kernel(*options); }; });

  // The process that a plugin is loaded into; started by lastbit itself.
  CLI::App* child = check.add_subcommand("run-plugin")->group("");
  const auto descriptor = std::make_shared<int>(-1);
  child->add_option("FD", *descriptor)->required();
  child->callback([descriptor, &action] { action = [descriptor] { return check::run_plugin_child(*descriptor); }; });
}

}  // namespace lastbit::cli
