// A whole training run in a folder: steps, evaluations, checkpoints, metrics, and going on after an interruption.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "train/train_config.h"
#include "train/trainer.h"

namespace lastbit::train {

// After a step, for whoever watches.
struct RunProgress {
  const StepReport& report;
  std::int64_t total_steps = 0;
  double tokens_per_s = 0;                        // of this call so far, everything included
  double left_s = 0;                              // at that pace
  std::optional<Trainer::Evaluation> evaluation;  // when there was one after this step
};

struct RunOptions {
  bool resume = false;         // from the latest checkpoint, if there is one; without: a folder that has none
  std::string resume_from;     // or from this one
  std::int64_t max_steps = 0;  // of this call; 0: to the end
  MakeStepDevice device;       // where steps run; without: here
  std::string device_name;     // part of the recipe: a run goes on on what gives the same bits
  std::function<bool()> stop;  // asked after every step: true ends the run there, as its end would
  std::function<void(const RunProgress&)> progress;
};

enum class RunEnd : std::uint8_t { kFinished, kStopped, kDiverged };

struct RunResult {  // NOLINT(bugprone-exception-escape): nlohmann's move checks an invariant
  RunEnd end = RunEnd::kFinished;
  std::string message;     // of kDiverged
  nlohmann::json summary;  // schema, steps, tokens, losses, seconds by part, peak memory
};

// Writes below config.output:
//   config.json       what was asked for
//   metrics.jsonl     a line a step, an evaluation, a shadow (metrics_log.h)
//   checkpoints/      training states; the last ones
//   model/            the weights in Hugging Face's form, with config.json: what other commands read; ema/ likewise
//   best/             the weights of the lowest validation loss, where asked for
//   routing.h5        the routing trace, where asked for
//   report.html       the run as pictures
// The last step of a call always leaves a checkpoint, the model and the report. A loss or gradient that is not finite
// ends it with the checkpoint checkpoints/before-failure-N.h5, from which resume_from runs into the same failure.
// Errors: as Trainer and load_train_state; a folder with checkpoints when not resuming is bad input; a full disk is an
// I/O error, the last good checkpoint stays.
RunResult train(const TrainConfig& config, const RunOptions& options);

}  // namespace lastbit::train
