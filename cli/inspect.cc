// lastbit inspect: what a model holds and costs.
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "model/config_file.h"
#include "model/summary.h"

namespace lastbit::cli {
namespace {

struct InspectOptions {
  std::string model;
  std::int64_t sequence_tokens = 4096;
  bool json = false;
};

int run_inspect(const InspectOptions& options) {
  const model::ModelConfig config = model::load_model_config(options.model);
  if (options.json) {
    std::cout << model::summary_json(config, options.model, options.sequence_tokens).dump(1) << '\n';
  } else {
    std::cout << model::summary_text(config, options.model, options.sequence_tokens);
  }
  return core::kExitOk;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("inspect", "Count a model's parameters, FLOPs a token and cache bytes a token");
  const auto options = std::make_shared<InspectOptions>();
  command->add_option("model", options->model, "Preset (see lastbit presets), directory or config.json")->required();
  command->add_option("--sequence", options->sequence_tokens, "Tokens of a sequence, for the attention's FLOPs")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([&action, options] { action = [options] { return run_inspect(*options); }; });
}

}  // namespace lastbit::cli
