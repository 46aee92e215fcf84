// The auxiliary losses that a configuration asks for in its MoE layers.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "ops/router.h"
#include "tensor/tensor.h"

namespace lastbit::model {

struct AuxiliaryLoss {
  double loss = 0;
  tensor::Tensor dlogits;  // as the logits; without elements where the config has no such loss
};

// The sum of one layer's losses, in this order: expert-level (aux_loss_alpha), device-level, communication, GShard,
// Switch, z-loss. Sequence by sequence under seq_aux (GShard's groups are the sequences), else over all tokens; Switch
// and z-loss over all tokens always. Counted is, as the config says, the choice made (before anything was dropped) or
// the top-K of the unbiased affinities, which is the default of V3's router and what its report prints.
[[nodiscard]] AuxiliaryLoss auxiliary_loss(const ModelConfig& config, const tensor::Tensor& logits,
                                           const ops::Routing& routing, std::int64_t tokens_a_sequence);

}  // namespace lastbit::model
