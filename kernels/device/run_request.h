// What `lastbit run` asks of a device: a forward pass with taps, and gradients.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernels/device/device_model.h"
#include "model/memory_plan.h"
#include "model/mtp.h"
#include "ops/numerics.h"

namespace lastbit::device {

struct RunRequest {
  ops::Numerics numerics;
  tensor::Tensor ids;                  // [B, S] i64
  std::vector<std::string> taps;       // as DeviceModel::forward()
  bool gradients = false;              // of the main loss
  std::vector<model::MtpOptions> mtp;  // and of the total loss with the modules so
};

struct RunResult {
  tensor::NamedTensors taps;
  tensor::NamedTensors gradients;  // "grad.NAME" without the modules' weights, "grad_mtp.VARIANT.NAME"
  std::vector<std::pair<std::string, double>> losses;  // of the passes with gradients: "" and the variants
};

// Errors: as DeviceModel, model_use(), forward() and run_passes().
[[nodiscard]] RunResult run(const model::ModelConfig& config, const model::Weights& weights, const RunRequest& request,
                            Memory memory);

// The device's memory that run() takes, by kind.
[[nodiscard]] std::vector<model::MemoryPart> plan(const model::ModelConfig& config, const RunRequest& request);

}  // namespace lastbit::device
