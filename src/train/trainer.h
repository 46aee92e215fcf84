// One training step after another, on one machine: what DeepSeek-V3's pre-training does (arXiv 2412.19437, sections 2
// and 4.2), small.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/transformer.h"
#include "ops/shadow.h"
#include "train/step_device.h"
#include "train/token_windows.h"
#include "train/train_config.h"
#include "train/train_state.h"

namespace lastbit::train {

// What one MoE layer's router did in a step, over all micro-batches.
struct LayerLoad {
  std::int64_t layer = 0;
  std::vector<std::int64_t> load;  // [experts] tokens that chose each
  double max_violation = 0;        // (max - mean) / mean
  double deviation = 0;            // over the experts
  double entropy = 0;              // nats
  std::int64_t dropped = 0;
  double auxiliary_loss = 0;           // mean over micro-batches
  std::vector<double> share_on_nodes;  // empty with a device, which does not count them
};

struct StepReport {
  std::int64_t step = 0;    // of this report: the first is 1
  std::int64_t tokens = 0;  // seen after it
  std::int64_t sequences = 0;
  double loss = 0;  // mean over micro-batches, as are the next
  double main_loss = 0;
  std::vector<double> mtp_loss;  // by depth
  double balance_loss = 0;
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  double clip_factor = 1;
  double bias_rate = 0;
  double mtp_weight = 0;
  std::vector<LayerLoad> layers;
  double passes_s = 0;     // forward and backward
  double optimiser_s = 0;  // norm, AdamW, EMA, biases
  double step_s = 0;       // all of it
};

// What a step can be asked for beyond its report.
struct StepExtras {
  ops::Shadow* shadow = nullptr;  // of the first micro-batch
  // [tokens, L, k] of the step's tokens and the main model's MoE layers, as io::append_step wants them.
  std::vector<std::uint16_t>* choices = nullptr;
};

// A loss or a gradient that is not finite. The trainer's state is the one before the step.
class DivergenceError : public core::Error {
 public:
  explicit DivergenceError(const std::string& message) : Error(core::ErrorKind::kInput, message) {}
};

class Trainer {
 public:
  // Weights are drawn from the seed, or read from init_from. Errors: as model, TokenWindows and find_numerics report;
  // the policy fp64 is unsupported: masters are FP32.
  // `make_device`: passes and optimiser run there. Errors beside: options that a device does not have.
  explicit Trainer(const TrainConfig& config, const MakeStepDevice& make_device = {});

  // One step. Errors: DivergenceError naming step, micro-batch, layer and tensor. With a device the reference runs the
  // step's passes for that; where its numbers stay finite, step and what the device saw.
  [[nodiscard]] StepReport step(const StepExtras& extras = {});

  [[nodiscard]] bool finished() const { return state_.step >= config_.total_steps; }
  // With a device: weights and moments as they were when collect() was last called.
  [[nodiscard]] const TrainState& state() const { return state_; }
  void collect();
  // Continues from a checkpoint. Errors (bad input): tensors that are missing, too many, or of other shapes or types.
  void restore(const TrainState& state, const std::string& path);

  // Mean loss of the held-out rows in nats a token, and in bits a byte. Nothing without such rows.
  struct Evaluation {
    double loss = 0;
    double bits_per_byte = 0;
    std::int64_t targets = 0;
  };
  [[nodiscard]] std::optional<Evaluation> evaluate() const;

  [[nodiscard]] const model::Transformer& model() const { return model_; }
  [[nodiscard]] const TokenWindows& windows() const { return windows_; }
  [[nodiscard]] const nlohmann::json& model_object() const { return model_object_; }  // config.json's
  [[nodiscard]] std::vector<std::int64_t> moe_layers() const;                         // of the main model
  // The weights under the hub's names, with MTP's copies: the masters, or their moving average.
  [[nodiscard]] tensor::NamedTensors export_weights(bool ema) const;

 private:
  [[nodiscard]] model::LossOptions loss_options();
  void run_micro_batch(std::int64_t micro, std::int64_t first_row, const StepExtras& extras, StepReport& report);
  [[noreturn]] void fail_diverged(std::int64_t micro, const tensor::Tensor& ids, model::LossOptions options,
                                  const std::string& reason);
  [[noreturn]] void fail_diverged_on_device(const std::vector<TokenRows>& batches, const std::string& reason);
  void add_routing(const model::LossResult& result, StepReport& report) const;
  [[nodiscard]] StepPasses run_on_device(std::int64_t micro_batches, StepReport& report);
  void add_losses(const MicroBatchLoss& losses, StepReport& report) const;
  [[nodiscard]] double loss_of(const tensor::Tensor& ids) const;
  [[nodiscard]] double gradient_sum_norm() const;
  void set_update(StepReport& report, double norm, std::int64_t micro_batches) const;
  void optimise(const StepReport& report, std::int64_t micro_batches);
  void optimise_on_device(const StepReport& report, std::int64_t micro_batches);
  void update_biases(const StepReport& report);
  void update_ema();

  TrainConfig config_;
  nlohmann::json model_object_;
  model::Transformer model_;
  std::vector<model::WeightSpec> specs_;
  TokenWindows windows_;
  std::optional<model::Gradients> gradients_;  // without a device, which has its own
  std::map<std::string, bool> decays_;         // by weight
  ops::DelayedScales scales_;
  TrainState state_;
  std::unique_ptr<StepDevice> device_;  // or null
  bool device_is_ahead_ = false;        // of state_'s weights and moments
};

}  // namespace lastbit::train
