// The whole model: token ids to logits, losses and gradients.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/gradients.h"
#include "model/key_value_cache.h"
#include "model/medusa.h"
#include "model/mtp.h"
#include "model/pass_context.h"
#include "model/weights.h"
#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::model {

struct ForwardOptions {
  std::vector<std::string> taps = {"logits"};
  std::vector<std::int64_t> documents;  // lengths of the documents that every row is packed from; empty: one
  MlaForm mla_form = MlaForm::kNaive;
  MtpOptions mtp;  // of the taps "mtp.", whose names say the variant and the mean
  ops::Shadow* shadow = nullptr;
  ops::DelayedScales* scales = nullptr;  // of policies with delayed scales: observes the pass
};

struct LossOptions {
  std::vector<std::string> taps;
  std::vector<std::int64_t> documents;
  std::optional<MtpOptions> mtp;        // adds the modules' losses
  std::optional<MedusaOptions> medusa;  // adds the parallel heads' losses
  // The config's auxiliary losses join the gradients, but the loss reported only under balance_in_loss: without, as
  // DeepSeekMoE's release does.
  bool balance_loss = false;
  bool balance_in_loss = false;
  // Of routers that draw: a Switch's jitter, GShard's second experts, sequences that are never dropped. Null: no jitter
  // and every second expert, as in forward().
  std::optional<Randomness> randomness = Randomness{};
  Recompute recompute;
  ops::Shadow* shadow = nullptr;
  ops::DelayedScales* scales = nullptr;  // of policies with delayed scales: observes the pass
  tensor::Tensor padding;                // [B, S] bool: tokens that no loss asks for; without elements: none
  TapWatch* watch = nullptr;             // gets the first tap that is not finite
};

struct LossResult {
  double loss = 0;  // of which the gradients are, but for auxiliary losses that it leaves out
  HeadLoss main;
  std::vector<HeadLoss> mtp;          // by depth
  std::vector<HeadLoss> medusa;       // by head
  std::vector<LayerRouting> routing;  // by MoE layer, those of MTP modules last
  tensor::NamedTensors taps;          // with gradients under "grad."
};

class Transformer {
 public:
  // Reads config.json and the weights of a Hugging Face directory. `stream`: a layer's weights are in memory only while
  // it runs; forward() alone.
  // Errors: as load_model_config and Weights::load.
  [[nodiscard]] static Transformer load(const std::string& directory, ops::Numerics numerics, bool stream = false);
  // Weights from elsewhere, FP64 under fp64, else FP32.
  Transformer(ModelConfig config, Weights weights, ops::Numerics numerics);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] const ops::Numerics& numerics() const { return numerics_; }
  [[nodiscard]] Weights& weights() { return weights_; }
  [[nodiscard]] const Weights& weights() const { return weights_; }

  // Whether a weight belongs to an MTP module.
  [[nodiscard]] bool is_mtp_weight(const std::string& name) const;

  // Every name that forward() can tap, in the order of the data's journey.
  [[nodiscard]] std::vector<std::string> tap_names() const;
  // Those and their gradients: what loss_and_gradients() can tap.
  [[nodiscard]] std::vector<std::string> gradient_tap_names() const;

  // Runs ids [B, S] i64 through the model and returns the taps asked for: names as in tap_names(), such as "logits"
  // [B, S, vocabulary], "logits.last" [B, vocabulary] (of the last position alone: what a prefill needs),
  // "hidden.layer0" [B, S, d] (after the layer), "loss" [1] (mean cross-entropy of the next token over B (S - 1)
  // targets), "decode.logits" (the first max(2, S/3) tokens at once, then token by token with a cache),
  // "mtp.paper.logits.depth1", "medusa.logits.head1", "medusa.loss" (mean over the heads). FP32, under fp64 FP64;
  // losses of MTP and Medusa FP64; expert indices and counts i64.
  // Errors: bad input for a tap without a meaning here (with a suggestion), ids of another type or rank, an id outside
  // the vocabulary (with its coordinates), a loss without targets; activations that overflow.
  [[nodiscard]] tensor::NamedTensors forward(const tensor::Tensor& ids, const ForwardOptions& options) const;

  // Tokens after those that the cache holds: ids [B, S] -> logits [B, S, vocabulary]; the cache grows. A sequence run
  // in pieces has the bits of one run at once under `mla_form` naive.
  [[nodiscard]] tensor::Tensor decode(const tensor::Tensor& ids, KeyValueCache& cache,
                                      MlaForm mla_form = MlaForm::kNaive) const;

  // Forward and backward: `gradients` (of all weights, FP64 under fp64) are added to.
  // Errors: as forward(); MTP without modules in the checkpoint.
  [[nodiscard]] LossResult loss_and_gradients(const tensor::Tensor& ids, const LossOptions& options,
                                              Gradients& gradients) const;

  // Zeros for all weights that have a gradient; the MTP modules' too where the checkpoint has them.
  [[nodiscard]] Gradients zero_gradients() const;

 private:
  [[nodiscard]] TokenLayout layout_of(const tensor::Tensor& ids, const std::vector<std::int64_t>& documents) const;
  [[nodiscard]] ops::RopeTables rope_for(const TokenLayout& layout) const;
  [[nodiscard]] tensor::Tensor embed(const tensor::Tensor& ids, const PassContext& context) const;
  void tap_decoding(const tensor::Tensor& ids, Taps& taps) const;
  void tap_mtp(const tensor::Tensor& ids, const tensor::Tensor& hidden, const tensor::Tensor& normed,
               const HeadLoss& main, MtpOptions options, const PassContext& context) const;
  void tap_medusa(const tensor::Tensor& ids, const tensor::Tensor& normed, const PassContext& context) const;

  ModelConfig config_;
  Weights weights_;
  ops::Numerics numerics_;
};

}  // namespace lastbit::model
