#include "train/train_run.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/parallel.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"
#include "io/routing_trace.h"
#include "io/weights.h"
#include "model/config_file.h"
#include "train/metrics_log.h"
#include "train/run_report.h"
#include "train/train_state.h"

namespace lastbit::train {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_from(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void make_output_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) core::fail_io("{}: cannot make the folder: {}", path, error.message());
}

bool due(std::int64_t every, std::int64_t step) { return every > 0 && step % every == 0; }

// Where the seconds of a call go.
struct Seconds {
  double passes = 0;
  double optimiser = 0;
  double evaluation = 0;
  double checkpoints = 0;
};

// Bits are those of a device, too.
json recipe_of(const TrainConfig& config, const RunOptions& options) {
  json all = recipe(config);
  if (options.device) all["device"] = options.device_name;
  return all;
}

class Run {
 public:
  Run(const TrainConfig& config, const RunOptions& options)
      : config_(config),
        options_(options),
        recipe_(recipe_of(config, options)),
        checkpoints_(config.output + "/checkpoints", config.record.checkpoints_kept),
        from_(start_point()),
        trainer_(config, options.device) {
    if (from_) trainer_.restore(load_train_state(*from_, recipe_), *from_);
    make_output_folder(config.output);
    io::write_text_file(config.output + "/config.json", config.written.dump(1) + "\n");
    metrics_.emplace(config.output + "/metrics.jsonl", trainer_.state().step);
    if (trainer_.state().step == 0) metrics_->append(header());
    first_step_ = trainer_.state().step;
    first_tokens_ = trainer_.state().tokens;
    if (from_ && from_ == checkpoints_.latest()) saved_step_ = first_step_;
    begin_trace();
    find_best();
  }

  RunResult run() {
    RunResult result;
    while (!trainer_.finished()) {
      try {
        take_step();
      } catch (const DivergenceError& error) {
        return diverged(error.what());
      }
      const bool enough = options_.max_steps > 0 && trainer_.state().step - first_step_ >= options_.max_steps;
      if (!trainer_.finished() && (enough || (options_.stop && options_.stop()))) {
        result.end = RunEnd::kStopped;
        break;
      }
    }
    finish();
    result.summary = summary(result.end);
    return result;
  }

 private:
  [[nodiscard]] std::optional<std::string> start_point() const {
    if (!options_.resume_from.empty()) return options_.resume_from;
    std::optional<std::string> latest = checkpoints_.latest();
    if (latest && !options_.resume)
      core::fail_input("{}: has checkpoints of a run, the latest {}; expected --resume, or another folder",
                       config_.output, *latest);
    return latest;
  }

  [[nodiscard]] json header() const {
    std::int64_t parameters = 0;
    for (const auto& [name, tensor] : trainer_.state().weights) parameters += tensor.size();
    return {{"schema", 1},
            {"step", 0},
            {"name", config_.name},
            {"recipe", recipe_},
            {"parameters", parameters},
            {"total_steps", config_.total_steps},
            {"total_tokens", config_.total_tokens},
            {"rows_an_epoch", trainer_.windows().rows()},
            {"validation_rows", trainer_.windows().validation().rows()}};
  }

  void take_step() {
    const std::int64_t step = trainer_.state().step + 1;
    ops::Shadow shadow;
    std::vector<std::uint16_t> choices;
    const bool shadowed = due(config_.record.shadow_every, step);
    const bool traced = due(config_.record.routing_trace_every, step) && !trace_.layers.empty();
    const StepReport report = trainer_.step({shadowed ? &shadow : nullptr, traced ? &choices : nullptr});
    seconds_.passes += report.passes_s;
    seconds_.optimiser += report.optimiser_s;
    last_ = report;
    if (due(config_.record.metrics_every, step) || trainer_.finished()) metrics_->append(to_json(report));
    if (shadowed) metrics_->append({{"step", step}, {"shadow", summarise_shadow(shadow)}});
    if (traced) io::append_step(trace_, step, choices, config_.record.routing_trace_choices);
    const std::optional<Trainer::Evaluation> evaluation = evaluate(step);
    if (due(config_.record.checkpoint_every, step)) save();
    if (!options_.progress) return;
    const double passed = seconds_from(start_);
    const double pace = static_cast<double>(report.tokens - first_tokens_) / passed;
    options_.progress({report, config_.total_steps, pace,
                       static_cast<double>(config_.total_tokens - report.tokens) / pace, evaluation});
  }

  std::optional<Trainer::Evaluation> evaluate(std::int64_t step) {
    if (!due(config_.record.evaluate_every, step) && !(trainer_.finished() && config_.record.evaluate_every > 0))
      return std::nullopt;
    const Clock::time_point start = Clock::now();
    std::optional<Trainer::Evaluation> evaluation = trainer_.evaluate();
    seconds_.evaluation += seconds_from(start);
    if (!evaluation) return std::nullopt;
    metrics_->append({{"step", step},
                      {"validation",
                       {{"loss", evaluation->loss},
                        {"bits_per_byte", evaluation->bits_per_byte},
                        {"targets", evaluation->targets}}}});
    last_evaluation_ = evaluation;
    if (config_.record.keep_best && evaluation->loss < best_loss_) {
      best_loss_ = evaluation->loss;
      save_model(config_.output + "/best", false);
    }
    return evaluation;
  }

  void save() {
    if (saved_step_ == trainer_.state().step) return;
    const Clock::time_point start = Clock::now();
    trainer_.collect();
    checkpoints_.save(trainer_.state(), recipe_);
    if (!trace_.steps.empty()) io::save_routing_trace(trace_path(), trace_);
    saved_step_ = trainer_.state().step;
    seconds_.checkpoints += seconds_from(start);
  }

  void save_model(const std::string& folder, bool ema) {
    trainer_.collect();
    make_output_folder(folder);
    io::save_weight_directory(folder, trainer_.export_weights(ema));
    io::write_text_file(folder + "/config.json",
                        model::checkpoint_config(trainer_.model_object(), "float32").dump(1) + "\n");
    io::write_text_file(folder + "/tokenizer.json", io::FileBytes::open(config_.data.tokenizer)->text());
  }

  void finish() {
    save();
    const Clock::time_point start = Clock::now();
    save_model(config_.output + "/model", false);
    if (config_.ema_decay > 0) save_model(config_.output + "/ema", true);
    write_report();
    seconds_.checkpoints += seconds_from(start);
  }

  void write_report() const {
    io::write_text_file(config_.output + "/report.html", run_report(read_metrics(config_.output + "/metrics.jsonl")));
  }

  RunResult diverged(const std::string& message) {
    const std::string path = checkpoints_.path_before_failure(trainer_.state().step);
    const Clock::time_point start = Clock::now();
    checkpoints_.make();
    trainer_.collect();
    save_train_state(path, trainer_.state(), recipe_);
    write_report();
    seconds_.checkpoints += seconds_from(start);
    return {RunEnd::kDiverged, fmt::format("{}; the state before that step is {}", message, path),
            summary(RunEnd::kDiverged)};
  }

  [[nodiscard]] std::string trace_path() const { return config_.output + "/routing.h5"; }

  // The lowest validation loss of the run so far.
  void find_best() {
    if (!config_.record.keep_best || first_step_ == 0) return;
    for (const json& line : read_metrics(config_.output + "/metrics.jsonl"))
      if (line.contains("validation"))
        best_loss_ = std::min(best_loss_, line.at("validation").at("loss").get<double>());
  }

  // Goes on with the trace of the run so far.
  void begin_trace() {
    if (config_.record.routing_trace_every == 0) return;
    const model::ModelConfig& model = trainer_.model().config();
    trace_.source = fmt::format("lastbit train {}, seed {}", config_.name, config_.seed);
    trace_.experts = model.n_routed_experts;
    trace_.top_k = model.num_experts_per_tok;
    trace_.groups = model.n_group;
    trace_.kept_groups = model.topk_group;
    trace_.layers = trainer_.moe_layers();
    if (trainer_.state().step == 0 || !std::filesystem::exists(trace_path())) return;
    io::RoutingTrace before = io::load_routing_trace(trace_path());
    const auto layers = before.layers.size();
    const std::int64_t experts = before.experts;
    std::int64_t tokens = 0;
    std::size_t kept = 0;
    for (; kept < before.steps.size() && before.steps[kept] <= trainer_.state().step; ++kept)
      tokens += before.tokens[kept];
    before.steps.resize(kept);
    before.tokens.resize(kept);
    before.counts.resize(kept * layers * static_cast<std::size_t>(experts));
    if (!before.choices.empty()) before.choices.resize(static_cast<std::size_t>(tokens * before.top_k) * layers);
    trace_ = std::move(before);
  }

  [[nodiscard]] json summary(RunEnd end) const {
    const double total = seconds_from(start_);
    const double model = seconds_.passes + seconds_.optimiser;
    const double besides = seconds_.evaluation + seconds_.checkpoints;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const std::int64_t tokens = trainer_.state().tokens - first_tokens_;
    json object = {{"schema", 1},
                   {"end", end == RunEnd::kFinished  ? "finished"
                           : end == RunEnd::kStopped ? "stopped"
                                                     : "diverged"},
                   {"seed", config_.seed},
                   {"output", config_.output},
                   {"step", trainer_.state().step},
                   {"total_steps", config_.total_steps},
                   {"tokens", trainer_.state().tokens},
                   {"threads", core::num_threads()},
                   {"tokens_per_s", static_cast<double>(tokens) / total},
                   {"seconds", total},
                   {"passes_s", seconds_.passes},
                   {"optimiser_s", seconds_.optimiser},
                   {"evaluation_s", seconds_.evaluation},
                   {"checkpoints_s", seconds_.checkpoints},
                   {"loop_share", model > 0 ? (total - besides - model) / model : 0},
                   {"peak_memory_mb", static_cast<double>(usage.ru_maxrss) / 1024}};
    if (last_) {
      object["loss"] = last_->loss;
      object["main_loss"] = last_->main_loss;
      double worst = 0;
      for (const LayerLoad& layer : last_->layers) worst = std::max(worst, layer.max_violation);
      object["max_violation"] = worst;
    }
    if (last_evaluation_)
      object["validation"] = {{"loss", last_evaluation_->loss}, {"bits_per_byte", last_evaluation_->bits_per_byte}};
    return object;
  }

  const TrainConfig& config_;
  const RunOptions& options_;
  json recipe_;
  CheckpointFolder checkpoints_;
  std::optional<std::string> from_;  // the checkpoint that the call started from
  Trainer trainer_;
  std::optional<MetricsLog> metrics_;
  io::RoutingTrace trace_;
  Clock::time_point start_ = Clock::now();
  Seconds seconds_;
  std::int64_t first_step_ = 0;
  std::int64_t first_tokens_ = 0;
  std::int64_t saved_step_ = -1;
  double best_loss_ = std::numeric_limits<double>::infinity();
  std::optional<StepReport> last_;
  std::optional<Trainer::Evaluation> last_evaluation_;
};

}  // namespace

RunResult train(const TrainConfig& config, const RunOptions& options) { return Run(config, options).run(); }

}  // namespace lastbit::train
