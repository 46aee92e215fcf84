// What every layer of one forward pass shares.
#pragma once

#include "model/config.h"
#include "model/taps.h"
#include "model/weights.h"
#include "ops/numerics.h"
#include "ops/rope.h"

namespace lastbit::model {

struct ForwardContext {
  const ModelConfig& config;
  const Weights& weights;
  const ops::RopeTables& rope;
  ops::Numerics numerics;
  Taps& taps;
};

}  // namespace lastbit::model
