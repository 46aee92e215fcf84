// One training step on the device: passes forward and backward, the norm of the gradients, and the optimiser. The host
// waits once, between the two, for what it reports and for the norm that the clipping needs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/device/device_model.h"
#include "model/mtp.h"
#include "tensor/tensor.h"
#include "train/adamw.h"

namespace lastbit::device {

struct MicroBatch {
  tensor::Tensor ids;      // [B, S] i64
  tensor::Tensor padding;  // [B, S] bool, or without elements
};

struct MicroBatchLoss {
  model::HeadLoss main;
  std::vector<model::HeadLoss> mtp;  // by depth
};

struct PassesResult {
  std::vector<MicroBatchLoss> losses;
  double gradient_norm = 0;  // of the sum over micro-batches
  // By mixture_layers(), [experts] each: tokens that chose an expert, over all micro-batches.
  std::vector<std::vector<std::int64_t>> loads;
};

// Gradients of the sum over micro-batches of each one's mean loss, with `mtp` the modules' too; they replace what was
// in the parameters.
// `model` was made for training.
// Errors (bad input): ids as check_token_ids; rows too short; numbers that are not finite, the weights being untouched.
[[nodiscard]] PassesResult run_passes(DeviceModel& model, std::span<const MicroBatch> batches,
                                      const std::optional<model::MtpOptions>& mtp);

struct Update {
  train::AdamWRule rule;  // of the weights that decay; the others with a weight_decay of 0
  train::AdamWStep step;
  std::map<std::string, bool> decays;  // by the hub's names
  double bias_rate = 0;                // 0: biases stay
  double bias_tolerance = 0;
};
// AdamW on what run_passes() left, and the routers' biases from its loads. Sends, and does not wait.
void update_weights(DeviceModel& model, const Update& update, const PassesResult& passes);

}  // namespace lastbit::device
