// Where a trainer's passes and its optimiser run when that is not this CPU's reference: masters, moments and gradients
// are there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/language_head.h"
#include "model/mtp.h"
#include "ops/numerics.h"
#include "train/adamw.h"
#include "train/token_windows.h"
#include "train/train_state.h"

namespace lastbit::train {

struct MicroBatchLoss {
  model::HeadLoss main;
  std::vector<model::HeadLoss> mtp;  // by depth
};

// What comes back from the passes of a step.
struct StepPasses {
  std::vector<MicroBatchLoss> losses;
  double gradient_norm = 0;  // of the sum over micro-batches
  // By layer with a mixture of experts, MTP's last, [experts] each: tokens that chose one, over all micro-batches.
  std::vector<std::vector<std::int64_t>> loads;
};

struct StepUpdate {
  AdamWRule rule;  // of the weights that decay; the others with a weight_decay of 0
  AdamWStep step;
  std::map<std::string, bool> decays;  // by weight
  double bias_rate = 0;                // 0: biases stay
  double bias_tolerance = 0;
};

class StepDevice {
 public:
  StepDevice() = default;
  virtual ~StepDevice() = default;
  StepDevice(const StepDevice&) = delete;
  StepDevice& operator=(const StepDevice&) = delete;

  // Takes and gives back weights and moments.
  virtual void put(const TrainState& state) = 0;
  virtual void fetch(TrainState& state) = 0;

  // Gradients of the sum over micro-batches of each one's mean loss, with `mtp` the modules' too. Errors (bad input):
  // numbers that are not finite; weights and moments stay as they were.
  [[nodiscard]] virtual StepPasses run_passes(std::span<const TokenRows> batches,
                                              const std::optional<model::MtpOptions>& mtp) = 0;
  // AdamW on the gradients that run_passes() left, and the routers' biases by its loads.
  virtual void update(const StepUpdate& update) = 0;

  // The mean loss of ids [B, S]. Errors (bad input): it is not finite.
  [[nodiscard]] virtual double loss(const tensor::Tensor& ids) = 0;
};

// What a device must have room for.
struct DevicePlan {
  const model::ModelConfig& config;
  const ops::Numerics& numerics;
  bool mtp = false;
  std::int64_t micro_sequences = 1;
  std::int64_t sequence_tokens = 1;
  std::int64_t most_micro_batches = 1;  // of a step
};

// Errors (bad input): a model or numerics that the device does not compute.
using MakeStepDevice = std::function<std::unique_ptr<StepDevice>(const DevicePlan& plan)>;

}  // namespace lastbit::train
