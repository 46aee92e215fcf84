// lastbit init: a fresh checkpoint of a preset.
#include "model/init.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"

namespace lastbit::cli {

void add_init(CLI::App& app, Action& action) {
  struct InitOptions {
    std::string preset;
    std::uint64_t seed = 0;
    std::string out;
  };
  CLI::App* command = app.add_subcommand("init", "Write a fresh checkpoint of a model, as training starts from it");
  const auto options = std::make_shared<InitOptions>();
  command->add_option("model", options->preset, "Preset (see lastbit presets), directory or config.json")->required();
  command->add_option("--seed", options->seed, "Seed of the weights: same seed, same bits")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command
      ->add_option("--out", options->out,
                   "Directory to write: config.json and safetensors; a checkpoint there is replaced")
      ->required();
  command->callback([&action, options] {
    action = [options] {
      model::init_checkpoint(options->preset, options->seed, options->out);
      core::log_info("wrote {} with seed {} to {}", options->preset, options->seed, options->out);
      return core::kExitOk;
    };
  });
}

}  // namespace lastbit::cli
