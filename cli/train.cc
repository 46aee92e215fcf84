// lastbit train: pre-training in a folder, resumable bit for bit.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device.h"
#include "core/error.h"
#include "core/log.h"
#include "train/train_run.h"

namespace lastbit::cli {
namespace {

struct TrainCommand {
  std::string config;
  std::vector<std::string> settings;
  std::string out;
  train::RunOptions run;
  std::string device = "cpu";
  bool as_json = false;
};

std::atomic<bool>& stop_asked() {
  static std::atomic<bool> asked{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // so that a signal may set it
  return asked;
}

// The first signal ends the run after the step at hand; a second one kills as ever.
void listen_for_signals() {
  stop_asked() = false;
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked() = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write, as a full disk is
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

double worst_violation(const train::StepReport& report) {
  double worst = 0;
  for (const train::LayerLoad& layer : report.layers) worst = std::max(worst, layer.max_violation);
  return worst;
}

// One line on a terminal, rewritten at most five times a second; evaluations as lines of their own.
class TrainProgress {
 public:
  void show(const train::RunProgress& progress) {
    if (progress.evaluation) {
      clear();
      core::log_info("step {}: validation {:.4f} nats a token, {:.4f} bits a byte", progress.report.step,
                     progress.evaluation->loss, progress.evaluation->bits_per_byte);
    }
    constexpr std::chrono::milliseconds kBetween{200};
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || (shown_ && now - last_ < kBetween)) return;
    last_ = now;
    shown_ = true;
    const train::StepReport& report = progress.report;
    std::cerr << fmt::format(
                     "\r\033[Kstep {} of {}  loss {:.4f}  rate {:.2e}  norm {:.3g}  MaxVio {:.2f}  {:.0f} "
                     "tokens/s  {} left",
                     report.step, progress.total_steps, report.main_loss, report.learning_rate, report.gradient_norm,
                     worst_violation(report), progress.tokens_per_s, duration(progress.left_s))
              << std::flush;
  }
  void clear() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
    shown_ = false;
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

void print_summary(const nlohmann::json& summary) {
  const auto number = [&](const char* key) { return summary.at(key).get<double>(); };
  std::cout << fmt::format("{} at step {} of {}, {} tokens\n", summary.at("end").get<std::string>(),
                           summary.at("step").get<std::int64_t>(), summary.at("total_steps").get<std::int64_t>(),
                           summary.at("tokens").get<std::int64_t>());
  if (summary.contains("main_loss"))
    std::cout << fmt::format("training    {:.4f} nats a token, MaxVio {:.2f}\n", number("main_loss"),
                             number("max_violation"));
  if (summary.contains("validation"))
    std::cout << fmt::format("validation  {:.4f} nats a token, {:.4f} bits a byte\n",
                             summary.at("validation").at("loss").get<double>(),
                             summary.at("validation").at("bits_per_byte").get<double>());
  std::cout << fmt::format(
      "time        {}, {:.0f} tokens/s: passes {:.1f} s, optimiser {:.1f} s, evaluation {:.1f} s, "
      "checkpoints {:.1f} s; the loop adds {:.2f} %\n",
      duration(number("seconds")), number("tokens_per_s"), number("passes_s"), number("optimiser_s"),
      number("evaluation_s"), number("checkpoints_s"), 100 * number("loop_share"));
  std::cout << fmt::format("memory      {:.0f} MB at most\nwritten     {}\n", number("peak_memory_mb"),
                           summary.at("output").get<std::string>());
}

int run_train(TrainCommand command) {
  const train::TrainConfig config = train::load_train_config(command.config, command.settings, command.out);
  const std::string device = usable_device(command.device);
  if (device != "cpu") {
    command.run.device = step_device(device);
    command.run.device_name = recipe_device(device);
  }
  listen_for_signals();
  TrainProgress progress;
  command.run.stop = [] { return stop_asked().load(); };
  command.run.progress = [&progress](const train::RunProgress& now) { progress.show(now); };
  const train::RunResult result = train::train(config, command.run);
  progress.clear();
  if (command.as_json)
    std::cout << result.summary.dump() << '\n';
  else
    print_summary(result.summary);
  if (result.end != train::RunEnd::kDiverged) return core::kExitOk;
  core::log_warning("diverged: {}", result.message);
  return core::kExitCheckFailed;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("train", "Pre-train a model: the DeepSeek-V3 recipe at any scale, resumable bit for bit");
  const auto options = std::make_shared<TrainCommand>();
  command
      ->add_option("CONFIG", options->config,
                   "Preset (micro, tiny, small, base) or a .toml or .json file; docs/training.md lists the keys")
      ->required();
  command->add_option("--out", options->out, "Folder of the run (default: the config's output)");
  command
      ->add_option("--set", options->settings,
                   "Change a value of the config, as in learning_rate.peak=1e-3; repeatable")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->run.resume,
                    "Go on from the folder's latest checkpoint, bit for bit; from the start where it has none");
  command->add_option("--resume-from", options->run.resume_from, "Go on from this checkpoint");
  command->add_option("--max-steps", options->run.max_steps, "End after so many steps of this call, as SIGTERM would")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  add_device(*command, options->device);
  command->add_flag("--json", options->as_json, "Print one JSON object");
  command->callback([&action, options] { action = [options] { return run_train(*options); }; });
}

}  // namespace lastbit::cli
