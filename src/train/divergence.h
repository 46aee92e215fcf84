// Where numbers first stopped being finite.
#pragma once

#include <string>

#include "model/gradients.h"
#include "model/transformer.h"
#include "tensor/tensor.h"

namespace lastbit::train {

[[nodiscard]] bool has_non_finite(const model::Gradients& gradients);

// Runs the micro-batch again and watches every tap of the forward and the backward pass: "layer 2, tensor
// 'attn_out.layer2': element 17 is inf". Where all taps are finite: the first weight's gradient that is not, in the
// order of the backward pass, of this micro-batch, else of those accumulated; else `reason`, with which the first run
// ended (it names the layer where a check stopped the pass before a tap was made).
[[nodiscard]] std::string find_divergence(const model::Transformer& model, const tensor::Tensor& ids,
                                          model::LossOptions options, const model::Gradients& accumulated,
                                          const std::string& reason);

}  // namespace lastbit::train
