// The tensors of a checkpoint by the hub's names, with their shapes, from the configuration alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "tensor/tensor.h"

namespace lastbit::model {

enum class WeightKind {
  kMatrix,  // a projection, an embedding, a head, a router: drawn at random at the start
  kNorm,    // a norm's gain: ones at the start
  kBias,    // zeros at the start
};

struct WeightSpec {
  std::string name;  // "model.layers.3.mlp.experts.17.gate_proj.weight"
  tensor::Shape shape;
  WeightKind kind = WeightKind::kMatrix;
  std::string role;          // the name without layer and expert: "mlp.experts.gate_proj.weight"
  std::int64_t layer = -1;   // -1: outside the layers
  std::int64_t expert = -1;  // -1: not of a routed expert
  std::string copy_of;       // the MTP module's copies of embedding and head: the original's name
};

// The main model: embedding, layers, final norm, head (absent when tied to the embedding), Medusa heads.
[[nodiscard]] std::vector<WeightSpec> main_weights(const ModelConfig& config);

// The MTP modules, stored as layers num_hidden_layers, num_hidden_layers + 1, ...
[[nodiscard]] std::vector<WeightSpec> mtp_weights(const ModelConfig& config);

// "model.layers.3."
[[nodiscard]] std::string layer_prefix(std::int64_t layer);

}  // namespace lastbit::model
