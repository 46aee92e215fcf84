// A fresh checkpoint: the weights that training would start from.
#pragma once

#include <cstdint>
#include <string>

#include "model/config.h"
#include "model/weight_specs.h"
#include "tensor/tensor.h"

namespace lastbit::model {

// One tensor as training starts from it: matrices N(0, initializer_range^2) from the stream
// ("init." + role, layer + 1, expert + 1) of `seed`, norms ones, biases zeros.
[[nodiscard]] tensor::Tensor initial_weight(const WeightSpec& spec, const ModelConfig& config, std::uint64_t seed);

// Writes a Hugging Face directory: config.json as the preset or file says, in FP32, and the weights with the hub's
// names, MTP modules included as layers num_hidden_layers, ... with copies of embedding and head. Same seed, same
// bytes, on every machine and for every number of threads. Files there of the same names are replaced.
// Errors: as load_model_config; weights larger than this machine's memory are unsupported.
void init_checkpoint(const std::string& preset_or_path, std::uint64_t seed, const std::string& directory);

}  // namespace lastbit::model
