// lastbit sim validate: every published run beside its forecast.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "sim/train/measured_runs.h"

namespace lastbit::cli {
namespace {

struct ValidateOptions {
  std::string runs;
  bool json = false;
};

int run_sim_validate(const ValidateOptions& options) {
  const std::vector<sim::train::MeasuredRun> runs =
      options.runs.empty() ? sim::train::published_runs() : sim::train::load_runs(options.runs);
  const sim::train::Validation validation = sim::train::validate_runs(runs);
  std::cout << (options.json ? to_json(validation).dump() + "\n" : to_text(validation));
  return core::kExitOk;
}

}  // namespace

void add_sim_validate(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "validate", "Forecast every published run with one calibration: measured, predicted, error, what calibrated");
  auto options = std::make_shared<ValidateOptions>();
  command->add_option("--runs", options->runs,
                      "Runs of your own instead: a .toml file in the form of data/measurements/runs");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([&action, options] { action = [options] { return run_sim_validate(*options); }; });
}

}  // namespace lastbit::cli
