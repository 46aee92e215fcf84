// lastbit sim: the forecast; one subcommand a question.
#include "cli/command.h"

namespace lastbit::cli {

void add_sim(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("sim", "Forecast clusters that train and serve");
  command->require_subcommand(1);
  add_sim_train(*command, action);
  add_sim_validate(*command, action);
  add_sim_schedule(*command, action);
  add_sim_routing(*command, action);
  add_sim_eplb(*command, action);
  add_sim_cluster(*command, action);
  add_sim_network(*command, action);
  add_sim_collective(*command, action);
}

}  // namespace lastbit::cli
