// Decoding on a device, for infer::generate().
#pragma once

#include <cstdint>

#include "infer/generate.h"
#include "kernels/device/device_model.h"
#include "ops/numerics.h"

namespace lastbit::device {

// One sequence of at most `capacity` tokens, with a cache of its latents. Errors: as DeviceModel, model_use() and
// decode().
[[nodiscard]] infer::Decode make_decoder(const model::ModelConfig& config, const model::Weights& weights,
                                         const ops::Numerics& numerics, Memory memory, std::int64_t capacity);

}  // namespace lastbit::device
