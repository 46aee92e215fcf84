// How a subcommand is attached: it declares its options and stores what to do in `action`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace lastbit::cli {

// What the chosen subcommand does after parsing; returns the program's exit code. Errors leave it as core::Error.
using Action = std::function<int()>;

// One function a subcommand, each in the file of its name; main.cc calls them in the order in which --help lists them.
void add_cast(CLI::App& app, Action& action);
void add_mma(CLI::App& app, Action& action);
void add_gemm(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);

}  // namespace lastbit::cli
