// lastbit sim schedule: a pipeline schedule, executed.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "sim/report/gantt_svg.h"
#include "sim/report/perfetto.h"
#include "sim/report/pipeline.h"
#include "sim/schedule/build.h"
#include "sim/schedule/closed_form.h"
#include "sim/schedule/execute.h"
#include "sim/schedule/operator_file.h"
#include "sim/schedule/overlap.h"
#include "sim/schedule/schedule_file.h"

namespace lastbit::cli {
namespace {

namespace schedule = sim::schedule;

constexpr int kGanttColumns = 104;
constexpr int kGanttRanks = 32;              // more do not fit on a screen
constexpr double kTraceSecondsAUnit = 1e-3;  // a unit of the durations is drawn as 1 ms

struct ScheduleOptions {
  std::string kind;
  std::string file;
  schedule::BuildParams build;
  int counts_given = 0;  // of --pp and --micro-batches
  // One value, or one for each stage of the model.
  std::vector<double> forward;
  std::vector<double> backward;
  std::vector<double> weight;
  std::vector<double> fused;
  std::string operators;
  double transfer = 0;
  bool lists = false;
  bool json = false;
  std::string save_lists;
  std::string trace;
  std::string svg;
};

struct Answer {
  schedule::Schedule schedule;
  schedule::Execution execution;
  std::vector<schedule::StageTimes> times;  // [stages]
  std::vector<sim::SimTime> fused;          // [stages] by the stage of the forward
  std::optional<schedule::ClosedForm> closed_form;
  std::optional<sim::report::ChunkPicture> chunk;
};

std::vector<double> seconds(const std::vector<sim::SimTime>& times) {
  std::vector<double> all;
  all.reserve(times.size());
  for (const sim::SimTime time : times) all.push_back(time.s);
  return all;
}

// One number when all stages have the same.
nlohmann::ordered_json of_stages(const std::vector<double>& values) {
  const bool equal = std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
  return equal ? nlohmann::ordered_json(values.front()) : nlohmann::ordered_json(values);
}

std::string of_stages_text(const std::vector<double>& values) {
  const nlohmann::ordered_json value = of_stages(values);
  if (value.is_number()) return fmt::format("{:.6g}", values.front());
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return fmt::format("{:.6g} to {:.6g}", *least, *most);
}

// The durations by name, one for each stage.
std::vector<std::pair<const char*, std::vector<double>>> durations(const Answer& answer) {
  std::vector<double> f;
  std::vector<double> b;
  std::vector<double> w;
  for (const schedule::StageTimes& times : answer.times) {
    f.push_back(times.forward.s);
    b.push_back(times.backward.s);
    w.push_back(times.weight.s);
  }
  return {{"f", f}, {"b", b}, {"w", w}, {"fb", seconds(answer.fused)}};
}

void print_json(const ScheduleOptions& options, const Answer& answer) {
  nlohmann::ordered_json out;
  out["schema_version"] = 1;
  out["kind"] = answer.schedule.kind;
  out["config"] = {{"pp", answer.schedule.ranks},
                   {"micro_batches", answer.schedule.micro_batches},
                   {"chunks", options.build.chunks}};
  for (const auto& [name, values] : durations(answer)) out["config"][name] = of_stages(values);
  out["config"]["p2p"] = options.build.hop.s;
  if (options.transfer > 0) out["config"]["transfer"] = options.transfer;
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
  if (!answer.execution.links.empty()) {
    nlohmann::ordered_json links = nlohmann::ordered_json::array();
    for (const schedule::LinkUse& link : answer.execution.links)
      links.push_back({{"from", link.from}, {"to", link.to}, {"transfers", link.transfers}, {"busy", link.busy.s}});
    out["links"] = std::move(links);
  }
  if (answer.chunk) {
    const schedule::ChunkRun& run = answer.chunk->run;
    nlohmann::ordered_json spans = nlohmann::ordered_json::array();
    for (const schedule::OperatorSpan& span : run.spans)
      spans.push_back({{"stream", span.communication ? "communication" : "compute"},
                       {"name", span.name},
                       {"start", span.start.s},
                       {"end", span.end.s}});
    out["chunk"] = {{"title", answer.chunk->title}, {"total", run.total.s},
                    {"compute", run.compute.s},     {"communication", run.communication.s},
                    {"exposed", run.exposed().s},   {"operators", std::move(spans)}};
  }
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
  std::cout << fmt::format("{}: {} ranks, {} micro-batches", answer.schedule.kind, answer.schedule.ranks,
                           answer.schedule.micro_batches);
  const char* const names[] = {"F", "B", "W", "F&B"};
  std::size_t which = 0;
  for (const auto& [key, values] : durations(answer))
    std::cout << fmt::format(", {} {}", names[which++], of_stages_text(values));
  std::cout << fmt::format(", hop {}", options.build.hop.s);
  if (options.transfer > 0) std::cout << fmt::format(", transfer {}", options.transfer);
  std::cout << '\n';
  if (answer.schedule.activation_limit > 0) {
    std::cout << fmt::format("activation limit  {} {} in flight{}\n", answer.schedule.activation_limit,
                             answer.schedule.slots > 1 ? "chunks" : "micro-batches",
                             options.build.activation_limit > 0 ? "" : " (the schedule's default)");
  }
  const auto [least, most] = std::minmax_element(execution.bubble.begin(), execution.bubble.end());
  std::cout << fmt::format("total             {:.6g}\n", execution.total.s);
  std::cout << fmt::format("bubble, executed  {:.6g} to {:.6g} on a rank\n", least->s, most->s);
  if (answer.closed_form) {
    std::cout << fmt::format("bubble, formula   {:.6g} = {}  [{}]\n", answer.closed_form->bubble.s,
                             answer.closed_form->formula, answer.closed_form->source);
  }
  if (answer.chunk) {
    const schedule::ChunkRun& run = answer.chunk->run;
    std::cout << fmt::format("{:<18}{:.6g}: compute {:.6g}, communication {:.6g}, of which exposed {:.6g}\n",
                             answer.chunk->title, run.total.s, run.compute.s, run.communication.s, run.exposed().s);
  }
  if (!execution.links.empty()) {
    const auto busiest =
        std::max_element(execution.links.begin(), execution.links.end(),
                         [](const schedule::LinkUse& a, const schedule::LinkUse& b) { return a.busy < b.busy; });
    std::cout << fmt::format("busiest link      {} to {}: {} transfers, {:.6g}\n", busiest->from, busiest->to,
                             busiest->transfers, busiest->busy.s);
  }
  std::cout << fmt::format("\n{:>4}  {:>12}  {:>12}  {:>12}  {:>9}\n", "rank", "finish", "busy", "bubble", "in flight");
  for (std::size_t rank = 0; rank < execution.finish.size(); ++rank) {
    std::cout << fmt::format("{:>4}  {:>12.6g}  {:>12.6g}  {:>12.6g}  {:>9}\n", rank, execution.finish[rank].s,
                             execution.busy[rank].s, execution.bubble[rank].s, execution.peak_in_flight[rank]);
  }
  if (answer.schedule.ranks <= kGanttRanks) {
    std::cout << "\nF forward, B backward, b input gradient, W weight gradient, X forward and backward, . idle\n"
              << sim::report::gantt(execution, kGanttColumns);
  }
}

// The stages of what is asked for.
int count_stages(const ScheduleOptions& options, const std::optional<schedule::Schedule>& own) {
  return own ? own->stages : schedule::stage_count(schedule::find_kind(options.kind), options.build);
}

// A value for each stage, from one or as many.
std::vector<double> spread(const char* option, const std::vector<double>& values, int stages) {
  if (values.size() == 1) return std::vector<double>(static_cast<std::size_t>(stages), values.front());
  if (values.size() != static_cast<std::size_t>(stages))
    core::fail_input("{}: found {} values, expected 1, or {}: one for each stage", option, values.size(), stages);
  return values;
}

void read_durations(const ScheduleOptions& options, int stages, Answer& answer) {
  const std::vector<double> forward = spread("--f", options.forward, stages);
  const std::vector<double> backward = spread("--b", options.backward, stages);
  const std::vector<double> weight = spread("--w", options.weight, stages);
  std::vector<double> fused;
  if (!options.fused.empty()) fused = spread("--fb", options.fused, stages);
  for (std::size_t stage = 0; stage < forward.size(); ++stage) {
    const schedule::StageTimes times{{forward[stage]}, {backward[stage]}, {weight[stage]}};
    answer.times.push_back(times);
    answer.fused.push_back(fused.empty() ? times.forward + times.backward : sim::SimTime{fused[stage]});
    const bool alike = options.forward.size() + options.backward.size() + options.weight.size() == 3;
    schedule::validate(times, answer.fused.back(), alike ? "" : fmt::format(" of stage {}", stage));
  }
}

// Without --fb a fused chunk of two stages lasts as long as the forward of the one and the backward of the other.
schedule::Costs table_costs(const ScheduleOptions& options, const Answer& answer) {
  const bool given = !options.fused.empty();
  return schedule::stage_costs(answer.times,
                               [&answer, given](int forward_stage, int backward_stage) {
                                 const auto f = static_cast<std::size_t>(forward_stage);
                                 return given ? answer.fused[f]
                                              : answer.times[f].forward +
                                                    answer.times[static_cast<std::size_t>(backward_stage)].backward;
                               },
                               options.build.hop, {options.transfer});
}

// Durations of simulated chunks, for the zero-bubble kinds and to be printed.
void read_chunks(schedule::ChunkTimes& chunks, int stages, Answer& answer) {
  using schedule::Verb;
  for (int stage = 0; stage < stages; ++stage) {
    answer.times.push_back({chunks.at(Verb::kForward, stage).total, chunks.at(Verb::kBackward, stage).total,
                            chunks.at(Verb::kWeight, stage).total});
    answer.fused.push_back(chunks.at(Verb::kFused, stage, stages - 1 - stage).total);
  }
}

schedule::Schedule build_lists(const ScheduleOptions& options, schedule::ChunkTimes* chunks, const Answer& answer) {
  schedule::BuildParams params = options.build;
  params.stages = answer.times;
  params.hop.s += options.transfer;
  if (chunks != nullptr) {
    for (std::size_t stage = 0; stage < params.stages.size(); ++stage)
      params.stages[stage].backward =
          chunks->at(schedule::Verb::kBackwardInput, static_cast<int>(stage)).total + params.stages[stage].weight;
  }
  return schedule::build(options.kind, params);
}

// The first fused chunk of the first rank, or its first forward.
sim::report::ChunkPicture picture(const schedule::Schedule& lists, schedule::ChunkTimes& chunks) {
  const std::vector<schedule::Op>& first = lists.order.front();
  const auto found = std::find_if(first.begin(), first.end(),
                                  [](const schedule::Op& op) { return op.verb == schedule::Verb::kFused; });
  const schedule::Op& op = found == first.end() ? first.front() : *found;
  const int second = op.verb == schedule::Verb::kFused ? lists.at(0, op.second.slot).stage : -1;
  return {"chunk " + schedule::label(op, lists.labels), chunks.at(op.verb, lists.at(0, op.chunk.slot).stage, second)};
}

void check_options(const ScheduleOptions& options) {
  if (options.kind.empty() == options.file.empty())
    core::fail_input("{}, expected one of --kind and --file",
                     options.kind.empty() ? "no schedule is named" : "--kind and --file are both there");
  if (!options.kind.empty() && options.counts_given < 2) core::fail_input("--kind needs --pp and --micro-batches");
  if (!options.file.empty() && options.counts_given > 0)
    core::fail_input("--file holds the ranks and micro-batches: expected no --pp or --micro-batches beside it");
  if (!options.file.empty() && options.build.chunks != 1)
    core::fail_input("--file holds what each rank holds: expected no --chunks beside it");
  if (options.lists && options.json) core::fail_input("--lists and --json are both there, expected one of them");
  const bool durations = !options.forward.empty() || !options.backward.empty() || !options.weight.empty();
  if (options.operators.empty() && (options.forward.empty() || options.backward.empty() || options.weight.empty()))
    core::fail_input("durations are missing: give --f, --b and --w, or --operators");
  if (!options.operators.empty() && (durations || !options.fused.empty()))
    core::fail_input("--operators gives the durations: expected no --f, --b, --w or --fb beside it");
  schedule::validate_duration(options.build.hop, "the time of a hop");
  schedule::validate_duration({options.transfer}, "the time of a transfer");
}

void write_files(const ScheduleOptions& options, const Answer& answer) {
  if (!options.save_lists.empty()) io::write_text_file(options.save_lists, schedule::schedule_text(answer.schedule));
  if (!options.svg.empty())
    io::write_text_file(options.svg, sim::report::gantt_svg(answer.schedule, answer.execution, answer.chunk));
  if (!options.trace.empty()) {
    const std::unique_ptr<sim::report::Trace> trace = sim::report::open_trace(options.trace);
    sim::report::add_pipeline(*trace, 0, answer.schedule, answer.execution, kTraceSecondsAUnit);
    trace->finish();
  }
}

bool all_alike(const Answer& answer) {
  for (const auto& [name, values] : durations(answer))
    if (!of_stages(values).is_number()) return false;
  return true;
}

int run_sim_schedule(const ScheduleOptions& options) {
  check_options(options);
  Answer answer;
  std::optional<schedule::Schedule> own;
  if (!options.file.empty()) own = schedule::load_schedule(options.file);
  const int stages = count_stages(options, own);
  std::optional<schedule::ChunkTimes> chunks;
  if (options.operators.empty()) {
    read_durations(options, stages, answer);
  } else {
    chunks.emplace(schedule::load_operators(options.operators, stages));
    read_chunks(*chunks, stages, answer);
  }
  answer.schedule = own ? *std::move(own) : build_lists(options, chunks ? &*chunks : nullptr, answer);
  if (!options.fused.empty() && !schedule::has_fused(answer.schedule))
    core::log_warning("{} has no fused verbs: --fb changes nothing", answer.schedule.kind);
  answer.execution =
      schedule::execute(answer.schedule, chunks ? schedule::chunk_costs(*chunks, options.build.hop, {options.transfer})
                                                : table_costs(options, answer));
  schedule::check_limit(answer.execution, answer.schedule, options.build.activation_limit);
  if (options.file.empty() && all_alike(answer))
    answer.closed_form = schedule::closed_form(answer.schedule, answer.times.front(), answer.fused.front());
  if (chunks) answer.chunk = picture(answer.schedule, *chunks);
  write_files(options, answer);
  if (options.lists) {
    std::cout << schedule::schedule_text(answer.schedule);
  } else {
    options.json ? print_json(options, answer) : print_text(options, answer);
  }
  return core::kExitOk;
}

void add_cost_options(CLI::App& command, ScheduleOptions& options) {
  command
      .add_option("--f", options.forward,
                  "Duration of a chunk's forward, in any unit of time: one, or one for each stage (1,1,1.5)")
      ->delimiter(',');
  command.add_option("--b", options.backward, "Duration of its full backward, in the same unit")->delimiter(',');
  command.add_option("--w", options.weight, "The part of the backward that is the weight gradient, same unit")
      ->delimiter(',');
  command
      .add_option("--fb", options.fused,
                  "Duration of an overlapped forward and backward, by the forward's stage (default: F + B)")
      ->delimiter(',');
  command.add_option("--operators", options.operators,
                     "Instead: a file of the durations of a layer's operators; chunks are simulated on a compute and a "
                     "communication stream (docs/schedules.md)");
  command.add_option("--p2p", options.build.hop.s, "Time from one rank to another, same unit (default: 0)");
  command.add_option("--transfer", options.transfer,
                     "Before it: time that an output keeps the link between two ranks busy (default: 0)");
}

}  // namespace

void add_sim_schedule(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("schedule", "Execute a pipeline schedule: total, bubbles, order, in flight");
  auto options = std::make_shared<ScheduleOptions>();
  command->add_option("--kind", options->kind,
                      "gpipe, 1f1b, interleaved, zb-h1 (zb1p), zb-h2, zb-v, dualpipe or dualpipev");
  command->add_option("--file", options->file, "Instead: your own order of verbs (docs/schedules.md)");
  CLI::Option* ranks = command->add_option("--pp", options->build.ranks, "Pipeline ranks P");
  CLI::Option* micro_batches =
      command->add_option("--micro-batches", options->build.micro_batches, "Micro-batches M of a step");
  add_cost_options(*command, *options);
  command->add_option("--chunks", options->build.chunks, "Chunks of the model a rank holds; interleaved only");
  command
      ->add_option(
          "--activation-limit", options->build.activation_limit,
          "Most micro-batches (zb-v: chunks) in flight on a rank, from F's start to W's end (default: zb-h1 P, "
          "zb-h2 and zb-v 2P)")
      ->check(CLI::Range(1, 1 << 30));
  command->add_flag("--json", options->json,
                    "Print JSON; labels F<mb>.<chunk>, BW full and B input backward, W; dualpipe F<direction>.<mb>, "
                    "B full and Bi input backward, W, F0.3&B1.1");
  command->add_flag("--lists", options->lists, "Print each rank's verbs, in the form that --file reads");
  command->add_option("--save-lists", options->save_lists, "Also write them to this file");
  command->add_option("--svg", options->svg, "Also draw the timeline to this file");
  command->add_option("--trace", options->trace,
                      "Also write the timeline here, for ui.perfetto.dev (1 unit of time is drawn as 1 ms)");
  command->callback([options, ranks, micro_batches, &action] {
    options->counts_given = (ranks->count() > 0 ? 1 : 0) + (micro_batches->count() > 0 ? 1 : 0);
    action = [options] { return run_sim_schedule(*options); };
  });
}

}  // namespace lastbit::cli
