// lastbit sim train: how long a cluster takes to train a model, and what it costs.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "sim/train/forecast.h"
#include "sim/train/forecast_page.h"
#include "sim/train/trace.h"

namespace lastbit::cli {
namespace {

struct TrainOptions {
  sim::train::ForecastRequest request;
  bool json = false;
  std::string trace;
  std::string trace_ranks = "pipeline";
  std::string dump;
  std::string page;
  std::vector<std::string> beside;
};

// CLI::PositiveNumber lets NaN through and prints the largest double where it does not.
CLI::Validator finite_positive() {
  return {[](std::string& text) {
            double value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool good =
                error == std::errc{} && end == text.data() + text.size() && std::isfinite(value) && value > 0;
            return good ? std::string() : fmt::format("found '{}', expected a finite number above 0", text);
          },
          "POSITIVE"};
}

// The page, with the run beside if one is asked for.
void write_page(const TrainOptions& options, const sim::train::Forecast& forecast) {
  std::vector<const sim::train::Forecast*> runs{&forecast};
  std::optional<sim::train::Forecast> other;
  if (!options.beside.empty()) {
    sim::train::ForecastRequest request = options.request;
    request.settings.insert(request.settings.end(), options.beside.begin(), options.beside.end());
    other = sim::train::forecast_training(request);
    runs.push_back(&*other);
  }
  io::write_text_file(options.page, sim::train::to_page(runs));
  core::log_info("wrote {}: open it in a browser", options.page);
}

int run_sim_train(const TrainOptions& options) {
  if (!options.dump.empty()) {
    std::cout << sim::train::dump_workload(options.request).dump(1) << '\n';
    return core::kExitOk;
  }
  const sim::train::Forecast forecast = sim::train::forecast_training(options.request);
  if (!options.trace.empty()) {
    sim::train::write_trace(forecast, options.trace,
                            sim::train::parse_trace_ranks(options.trace_ranks, forecast.main().groups.world));
    core::log_info("wrote {}: drop it on ui.perfetto.dev", options.trace);
  }
  if (!options.page.empty()) write_page(options, forecast);
  if (options.json) {
    std::cout << sim::train::to_json(forecast).dump() << '\n';
  } else {
    std::cout << sim::train::to_text(forecast);
  }
  return core::kExitOk;
}

}  // namespace

void add_sim_train(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("train", "Forecast a training job: step time and its split, MFU, GPU-hours, dollars");
  auto options = std::make_shared<TrainOptions>();
  command->add_option("--model", options->request.model, "Preset, Hugging Face directory or config.json")->required();
  command->add_option("--cluster", options->request.cluster, "Preset of data/clusters, or a .toml or .json file")
      ->required();
  command->add_option("--job", options->request.job, "Preset of data/jobs, or a .toml or .json file")->required();
  command->add_option("--schedule", options->request.schedule,
                      "Pipeline schedule instead of the job's: dualpipe, 1f1b, zb1p, ... A phase that names its own "
                      "keeps it");
  command
      ->add_option(
          "--set", options->request.settings,
          "Change a value: cluster.KEY, job.KEY, model.KEY or assume.NAME, as in assume.routing_load_factor=1.1 "
          "or cluster.network.nic_attainable='40 GB/s'; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--load", options->request.load,
                      "How much each expert is chosen: uniform, zipf:EXPONENT, a file of loads (.json) or a recorded "
                      "routing trace (.h5)");
  command->add_option("--unfold", options->request.unfold,
                      "A routing trace (.h5) with every token's choices: also replay it with each rank of one "
                      "expert-parallel group simulated apart");
  command->add_option("--kernel-times", options->request.kernel_times,
                      "Your own kernel timings, a .csv file with the columns kernel,n,k,groups,rows,us: they stand "
                      "before every table; a line that no operator takes is an error");
  command
      ->add_option("--samples", options->request.samples,
                   "Draws from the assumptions' ranges for the step's P5 to P95; 0 for the point alone")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command->add_option("--seed", options->request.seed, "Of the draws")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_flag("--force", options->request.force, "Go on where a GPU's memory does not suffice");
  command->add_option("--dump", options->dump, "Print the work instead of a forecast: workload, as one JSON object")
      ->check(CLI::IsMember({"workload"}));
  CLI::Option* page = command->add_option("--html", options->page,
                                          "Write a self-contained page: timeline, links, memory, causes, assumptions");
  command
      ->add_option("--beside", options->beside,
                   "A change as of --set: the page shows the run with it beside the run without; may be repeated")
      ->allow_extra_args(false)
      ->needs(page);
  command->add_flag("--scaling", options->request.scaling, "Also an eighth to eight times the GPUs, same batch");
  command->add_option("--budget", options->request.budget_usd, "USD: how many tokens they pay for")
      ->check(finite_positive());
  command->add_option("--deadline", options->request.deadline_days, "Days: how many GPUs keep them")
      ->check(finite_positive());
  command->add_flag("--json", options->json, "Print one JSON object, times in seconds");
  command->add_option("--trace", options->trace,
                      "Write a step as a trace for ui.perfetto.dev: .json, or .pftrace for many ranks");
  command
      ->add_option("--trace-ranks", options->trace_ranks,
                   "Whose: pipeline (one rank for each pipeline rank), all, or ranks of the world as in 0-15,128")
      ->capture_default_str();
  command->callback([&action, options] { action = [options] { return run_sim_train(*options); }; });
}

}  // namespace lastbit::cli
