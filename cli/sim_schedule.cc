// lastbit sim schedule: a pipeline schedule, executed.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"
#include "sim/report/perfetto.h"
#include "sim/report/pipeline.h"
#include "sim/schedule/build.h"
#include "sim/schedule/closed_form.h"
#include "sim/schedule/execute.h"

namespace lastbit::cli {
namespace {

namespace schedule = sim::schedule;

constexpr int kGanttColumns = 104;
constexpr int kGanttRanks = 32;              // more do not fit on a screen
constexpr double kTraceSecondsAUnit = 1e-3;  // a unit of the durations is drawn as 1 ms

struct ScheduleOptions {
  std::string kind;
  schedule::BuildParams build;
  schedule::StageTimes times;
  std::optional<double> fused;
  bool json = false;
  std::string trace;
};

struct Answer {
  schedule::Schedule schedule;
  schedule::Execution execution;
  sim::SimTime fused;
  std::optional<schedule::ClosedForm> closed_form;
};

std::vector<double> seconds(const std::vector<sim::SimTime>& times) {
  std::vector<double> all;
  all.reserve(times.size());
  for (const sim::SimTime time : times) all.push_back(time.s);
  return all;
}

void print_json(const ScheduleOptions& options, const Answer& answer) {
  nlohmann::ordered_json out;
  out["schema_version"] = 1;
  out["kind"] = answer.schedule.kind;
  out["config"] = {{"pp", options.build.ranks},      {"micro_batches", options.build.micro_batches},
                   {"chunks", options.build.chunks}, {"f", options.times.forward.s},
                   {"b", options.times.backward.s},  {"w", options.times.weight.s},
                   {"fb", answer.fused.s},           {"p2p", options.build.hop.s}};
  if (answer.schedule.activation_limit > 0) out["config"]["activation_limit"] = answer.schedule.activation_limit;
  out["total"] = answer.execution.total.s;
  out["finish_per_rank"] = seconds(answer.execution.finish);
  out["busy_per_rank"] = seconds(answer.execution.busy);
  out["bubble_per_rank"] = seconds(answer.execution.bubble);
  if (answer.closed_form) {
    out["closed_form"] = {{"formula", answer.closed_form->formula},
                          {"bubble", answer.closed_form->bubble.s},
                          {"source", answer.closed_form->source}};
  } else {
    out["closed_form"] = nullptr;
  }
  out["peak_in_flight_per_rank"] = answer.execution.peak_in_flight;
  nlohmann::ordered_json orders = nlohmann::ordered_json::array();
  for (const std::vector<schedule::Op>& list : answer.schedule.order) {
    nlohmann::ordered_json labels = nlohmann::ordered_json::array();
    for (const schedule::Op& op : list) labels.push_back(schedule::label(op, answer.schedule.labels));
    orders.push_back(std::move(labels));
  }
  out["order_per_rank"] = std::move(orders);
  std::cout << out.dump() << '\n';
}

void print_text(const ScheduleOptions& options, const Answer& answer) {
  const schedule::Execution& execution = answer.execution;
  std::cout << fmt::format("{}: {} ranks, {} micro-batches, F {}, B {}, W {}, F&B {}, hop {}\n", answer.schedule.kind,
                           options.build.ranks, options.build.micro_batches, options.times.forward.s,
                           options.times.backward.s, options.times.weight.s, answer.fused.s, options.build.hop.s);
  if (answer.schedule.activation_limit > 0) {
    std::cout << fmt::format("activation limit  {} micro-batches in flight{}\n", answer.schedule.activation_limit,
                             options.build.activation_limit > 0 ? "" : " (the schedule's default)");
  }
  const auto [least, most] = std::minmax_element(execution.bubble.begin(), execution.bubble.end());
  std::cout << fmt::format("total             {:.6g}\n", execution.total.s);
  std::cout << fmt::format("bubble, executed  {:.6g} to {:.6g} on a rank\n", least->s, most->s);
  if (answer.closed_form) {
    std::cout << fmt::format("bubble, formula   {:.6g} = {}  [{}]\n", answer.closed_form->bubble.s,
                             answer.closed_form->formula, answer.closed_form->source);
  }
  std::cout << fmt::format("\n{:>4}  {:>12}  {:>12}  {:>12}  {:>9}\n", "rank", "finish", "busy", "bubble", "in flight");
  for (std::size_t rank = 0; rank < execution.finish.size(); ++rank) {
    std::cout << fmt::format("{:>4}  {:>12.6g}  {:>12.6g}  {:>12.6g}  {:>9}\n", rank, execution.finish[rank].s,
                             execution.busy[rank].s, execution.bubble[rank].s, execution.peak_in_flight[rank]);
  }
  if (options.build.ranks <= kGanttRanks) {
    std::cout << "\nF forward, B backward, b input gradient, W weight gradient, X forward and backward, . idle\n"
              << sim::report::gantt(execution, kGanttColumns);
  }
}

int run_sim_schedule(ScheduleOptions options) {
  Answer answer;
  answer.fused = options.fused ? sim::SimTime{*options.fused} : options.times.forward + options.times.backward;
  schedule::validate(options.times, answer.fused, options.build.hop);
  answer.schedule = schedule::build_uniform(options.kind, options.build, options.times);
  if (options.fused && !schedule::has_fused(answer.schedule))
    core::log_warning("{} has no fused verbs: --fb changes nothing", answer.schedule.kind);
  answer.execution =
      schedule::execute(answer.schedule, schedule::uniform_costs(options.times, answer.fused, options.build.hop));
  schedule::check_limit(answer.execution, answer.schedule, options.build.activation_limit);
  answer.closed_form = schedule::closed_form(answer.schedule, options.times, answer.fused);
  if (!options.trace.empty()) {
    sim::report::ChromeTrace trace(options.trace);
    sim::report::add_pipeline(trace, 0, answer.schedule, answer.execution, kTraceSecondsAUnit);
    trace.finish();
  }
  options.json ? print_json(options, answer) : print_text(options, answer);
  return core::kExitOk;
}

}  // namespace

void add_sim_schedule(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("schedule", "Execute a pipeline schedule: total, bubbles, order, in flight");
  auto options = std::make_shared<ScheduleOptions>();
  command->add_option("--kind", options->kind, "1f1b, gpipe, interleaved, zb-h1 (zb1p), zb-h2, dualpipe or dualpipev")
      ->required();
  command->add_option("--pp", options->build.ranks, "Pipeline ranks P")->required();
  command->add_option("--micro-batches", options->build.micro_batches, "Micro-batches M of a step")->required();
  command->add_option("--f", options->times.forward.s, "Duration of a chunk's forward, in any unit of time")
      ->required();
  command->add_option("--b", options->times.backward.s, "Duration of its full backward, in the same unit")->required();
  command->add_option("--w", options->times.weight.s, "The part of the backward that is the weight gradient, same unit")
      ->required();
  command->add_option("--fb", options->fused, "Duration of an overlapped forward and backward (default: F + B)");
  command->add_option("--p2p", options->build.hop.s, "Time from one rank to another, same unit (default: 0)");
  command->add_option("--chunks", options->build.chunks, "Chunks of the model a rank holds; interleaved only");
  command
      ->add_option("--activation-limit", options->build.activation_limit,
                   "Most micro-batches in flight on a rank, from F's start to W's end (default: zb-h1 P, zb-h2 2P)")
      ->check(CLI::Range(1, 1 << 30));
  command->add_flag("--json", options->json,
                    "Print JSON; labels F<mb>.<chunk>, BW full and B input backward, W; dualpipe F<direction>.<mb>, "
                    "B full and Bi input backward, W, F0.3&B1.1");
  command->add_option("--trace", options->trace,
                      "Also write the timeline here, for ui.perfetto.dev (1 unit of time is drawn as 1 ms)");
  command->callback([options, &action] { action = [options] { return run_sim_schedule(*options); }; });
}

}  // namespace lastbit::cli
