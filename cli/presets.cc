// lastbit presets: the models, clusters, jobs, training runs, studies and numerics policies that come with the program.
#include <fmt/format.h>

#include <iostream>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "io/preset_list.h"
#include "model/config_file.h"
#include "model/summary.h"
#include "ops/numerics.h"

namespace lastbit::cli {
namespace {

void print(const char* kind, const std::string& name, const std::string& description) {
  std::cout << fmt::format("{:<8} {:<22} {}\n", kind, name, description);
}

int run_presets() {
  for (const std::string& name : model::model_presets())
    print("model", name, model::summary_line(model::load_model_config(name)));
  for (const io::PresetFile& preset : io::list_presets("clusters")) print("cluster", preset.name, preset.comment);
  for (const io::PresetFile& preset : io::list_presets("jobs")) print("job", preset.name, preset.comment);
  for (const io::PresetFile& preset : io::list_presets("train")) print("train", preset.name, preset.comment);
  for (const io::PresetFile& preset : io::list_presets("studies")) print("study", preset.name, preset.comment);
  for (const std::string& name : ops::policy_names()) print("numerics", name, ops::describe_policy(name));
  return core::kExitOk;
}

}  // namespace

void add_presets(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "presets", "List the models, clusters, jobs, training runs, studies and numerics policies that come along");
  command->callback([&action] { action = run_presets; });
}

}  // namespace lastbit::cli
