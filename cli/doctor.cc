// lastbit doctor: what this build and this machine have.
#include <fmt/format.h>

#include <iostream>

#include "cli/command.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/version.h"

namespace lastbit::cli {
namespace {

int run_doctor() {
  std::cout << fmt::format("lastbit      {}\n", core::version());
  std::cout << fmt::format("threads      {}\n", core::num_threads());
  return core::kExitOk;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this build and this machine have");
  command->callback([&action] { action = run_doctor; });
}

}  // namespace lastbit::cli
