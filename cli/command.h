// How a subcommand is attached: it declares its options and stores what to do in `action`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace lastbit::cli {

// What the chosen subcommand does after parsing; returns the program's exit code. Errors leave it as core::Error.
using Action = std::function<int()>;

// One function a subcommand, each in the file of its name; main.cc calls them in the order in which --help lists them.
void add_cast(CLI::App& app, Action& action);
void add_mma(CLI::App& app, Action& action);
void add_gemm(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_dequantize(CLI::App& app, Action& action);
void add_op(CLI::App& app, Action& action);
void add_golden(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_init(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_units(CLI::App& app, Action& action);
void add_probe(CLI::App& app, Action& action);
void add_study(CLI::App& app, Action& action);
void add_tokenizer(CLI::App& app, Action& action);
void add_data(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_presets(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_sim(CLI::App& app, Action& action);

// Below `sim`; sim.cc calls them.
void add_sim_cluster(CLI::App& app, Action& action);
void add_sim_collective(CLI::App& app, Action& action);
void add_sim_eplb(CLI::App& app, Action& action);
void add_sim_network(CLI::App& app, Action& action);
void add_sim_routing(CLI::App& app, Action& action);
void add_sim_schedule(CLI::App& app, Action& action);
void add_sim_train(CLI::App& app, Action& action);
void add_sim_validate(CLI::App& app, Action& action);

// Subcommands of eval beside text, attached by add_eval.
void add_eval_tasks(CLI::App& eval, Action& action);

// Subcommands of check, attached by add_check.
void add_check_gpu_records(CLI::App& check, Action& action);
void add_check_kernel(CLI::App& check, Action& action);

// One line on why parsing failed: for a word that no one knows, what it may have been meant to be.
[[nodiscard]] std::string describe_parse_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace lastbit::cli
