// The whole model: token ids to logits.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::model {

class Transformer {
 public:
  // Reads config.json and the weights of a Hugging Face directory.
  // Errors: as load_model_config and Weights::load; a model_type that does not run yet is unsupported.
  [[nodiscard]] static Transformer load(const std::string& directory, ops::Numerics numerics);

  [[nodiscard]] const ModelConfig& config() const { return config_; }

  // Every name that forward() can tap, in the order of the data's journey.
  [[nodiscard]] std::vector<std::string> tap_names() const;

  // Runs ids [B, S] i64 through the main model and returns the taps asked for: names as in tap_names(), such as
  // "logits" [B, S, vocabulary], "hidden.layer0" [B, S, d] (after the layer), "loss" [1] (mean cross-entropy of the
  // next token over B (S - 1) targets). All FP32, expert indices i64.
  // Errors: bad input for a tap without a meaning here (with a suggestion), ids of another type or rank, an id outside
  // the vocabulary (with its coordinates), a loss without targets; activations that overflow FP32.
  [[nodiscard]] tensor::NamedTensors forward(const tensor::Tensor& ids, const std::vector<std::string>& taps) const;

 private:
  Transformer(ModelConfig config, Weights weights, ops::Numerics numerics);
  void check_ids(const tensor::Tensor& ids) const;
  void check_taps(const std::vector<std::string>& taps) const;

  ModelConfig config_;
  Weights weights_;
  ops::Numerics numerics_;
};

}  // namespace lastbit::model
