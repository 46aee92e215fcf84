// lastbit study: small experiments whose result is a table.
#include "train/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "check/accumulation_study.h"
#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"
#include "io/unit_file.h"
#include "numerics/units.h"

namespace lastbit::cli {
namespace {

using check::AccumulationErrors;
using check::StudyInputs;

struct StudyOptions {
  std::string unit = "hopper_wgmma";
  std::string a_type = "e4m3";
  std::string b_type;
  check::StudyShape shape;
  std::uint64_t seed = 1;
  int seeds = 3;
  std::vector<std::int64_t> intervals{0, 512, 256, 128, 64, 32};
  bool json = false;
};

// Of one kind of inputs: the errors of each seed at each interval.
struct StudyRow {
  StudyInputs inputs;
  std::vector<std::vector<AccumulationErrors>> of_seed;
};

std::string range(const StudyRow& row, std::size_t interval, double AccumulationErrors::*figure) {
  double least = std::numeric_limits<double>::infinity();
  double most = -least;
  for (const std::vector<AccumulationErrors>& seed : row.of_seed) {
    least = std::min(least, seed[interval].*figure);
    most = std::max(most, seed[interval].*figure);
  }
  return row.of_seed.size() == 1 ? fmt::format("{:.1e}", most) : fmt::format("{:.1e} to {:.1e}", least, most);
}

void print_text(const StudyOptions& options, const numerics::MmaRule& rule, const std::vector<StudyRow>& rows) {
  std::cout << fmt::format(
      "{}, {} x {}: M = {}, N = {}, K = {}, {} seed{}, error against the exact sum of the same codes\n\n", options.unit,
      numerics::name(rule.a), numerics::name(rule.b), options.shape.m, options.shape.n, options.shape.k, options.seeds,
      options.seeds == 1 ? "" : "s");
  std::cout << fmt::format("{:<12}{:<24}{:<24}{}\n", "promoted", "N(0,1): max / rms", "U[0,1): max relative",
                           "U[0,1): mean relative");
  for (std::size_t i = 0; i < options.intervals.size(); ++i) {
    const std::int64_t every = options.intervals[i];
    std::cout << fmt::format("{:<12}{:<24}{:<24}{}\n", every == 0 ? "never" : fmt::format("every {}", every),
                             range(rows[0], i, &AccumulationErrors::max_over_rms),
                             range(rows[1], i, &AccumulationErrors::max_relative),
                             range(rows[1], i, &AccumulationErrors::mean_relative));
  }
}

void print_json(const StudyOptions& options, const numerics::MmaRule& rule, const std::vector<StudyRow>& rows) {
  nlohmann::json results = nlohmann::json::array();
  for (const StudyRow& row : rows)
    for (std::size_t seed = 0; seed < row.of_seed.size(); ++seed)
      for (std::size_t i = 0; i < options.intervals.size(); ++i) {
        const AccumulationErrors& errors = row.of_seed[seed][i];
        results.push_back({{"inputs", check::to_string(row.inputs)},
                           {"seed", options.seed + seed},
                           {"promote_every", options.intervals[i]},
                           {"max_over_rms", errors.max_over_rms},
                           {"max_relative", errors.max_relative},
                           {"mean_relative", errors.mean_relative}});
      }
  const nlohmann::json report{{"schema", 1},
                              {"unit", options.unit},
                              {"a_type", numerics::name(rule.a)},
                              {"b_type", numerics::name(rule.b)},
                              {"m", options.shape.m},
                              {"n", options.shape.n},
                              {"k", options.shape.k},
                              {"results", results}};
  std::cout << report.dump(2) << '\n';
}

int run_accumulation(const StudyOptions& options) {
  const numerics::Unit unit = io::find_unit(options.unit);
  const numerics::Format a = numerics::find_operand_type(unit, options.a_type);
  const numerics::Format b = options.b_type.empty() ? a : numerics::find_operand_type(unit, options.b_type);
  const numerics::MmaRule rule = numerics::rule_of(unit, a, b, numerics::Format::kF32);
  std::vector<StudyRow> rows{{StudyInputs::kNormal, {}}, {StudyInputs::kUniform, {}}};
  for (StudyRow& row : rows)
    for (int seed = 0; seed < options.seeds; ++seed)
      row.of_seed.push_back(check::study_accumulation(
          rule, row.inputs, options.shape, options.seed + static_cast<std::uint64_t>(seed), options.intervals));
  if (options.json)
    print_json(options, rule, rows);
  else
    print_text(options, rule, rows);
  return core::kExitOk;
}

void add_accumulation(CLI::App& study, Action& action) {
  CLI::App* command = study.add_subcommand(
      "accumulation", "The error of a tensor core's accumulator over a long K, by how often it is promoted");
  const auto options = std::make_shared<StudyOptions>();
  constexpr std::int64_t kMost = 1 << 20;
  command->add_option("--unit", options->unit, "Tensor core")->capture_default_str();
  command->add_option("--a-type", options->a_type, "Format of A")->capture_default_str();
  command->add_option("--b-type", options->b_type, "Format of B (default: that of A)");
  command->add_option("--m", options->shape.m, "Rows of D")
      ->check(CLI::Range(std::int64_t{1}, kMost))
      ->capture_default_str();
  command->add_option("--n", options->shape.n, "Columns of D")
      ->check(CLI::Range(std::int64_t{1}, kMost))
      ->capture_default_str();
  command->add_option("--k", options->shape.k, "Length of the sums")
      ->check(CLI::Range(std::int64_t{1}, kMost))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "First seed")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "How many seeds, one after the other")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--promote-every", options->intervals, "Elements of K between promotions; 0 is never")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object, an entry a seed");
  command->callback([options, &action] { action = [options] { return run_accumulation(*options); }; });
}

struct TrainStudy {
  std::string name;
  train::StudyOptions study;
};

int run_train_study(TrainStudy options) {
  const train::Study study = train::load_study(options.name);
  if (options.study.output.empty()) options.study.output = "studies/" + options.name;
  options.study.progress = [last = std::string()](const std::string& variant, const train::RunProgress& now) mutable {
    if (!now.evaluation && variant == last) return;
    last = variant;
    core::log_info("{}: step {} of {}, loss {:.4f}, {:.0f} tokens/s, {:.0f} s left", variant, now.report.step,
                   now.total_steps, now.report.main_loss, now.tokens_per_s, now.left_s);
  };
  const nlohmann::json results = train::run_study(study, options.study);
  std::cout << train::study_text(results);
  return core::kExitOk;
}

void add_train_study(CLI::App& study, Action& action) {
  CLI::App* command = study.add_subcommand("train", "The same training run with one thing changed at a time");
  const auto options = std::make_shared<TrainStudy>();
  command->add_option("NAME", options->name, "A study of data/studies")->required();
  command->add_option("--out", options->study.output, "Folder, where an interrupted study goes on (studies/NAME)");
  command
      ->add_option("--scale", options->study.scale,
                   "micro (minutes), tiny (half an hour a variant) or small (a long run elsewhere)")
      ->check(CLI::IsMember(train::study_scales()))
      ->capture_default_str();
  command->add_option("--set", options->study.settings, "Change a value of all runs, as in tokens=1000000; repeatable")
      ->allow_extra_args(false);
  command->add_option("--seeds", options->study.seeds, "Run everything with each of these seeds: results are means")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  command->add_option("--commit", options->study.commit, "What to note beside the version in the results");
  command->callback([&action, options] { action = [options] { return run_train_study(*options); }; });
}

}  // namespace

void add_study(CLI::App& app, Action& action) {
  CLI::App* study = app.add_subcommand("study", "Small experiments: on the numerics, and on training");
  study->require_subcommand(1);
  add_accumulation(*study, action);
  add_train_study(*study, action);
}

}  // namespace lastbit::cli
