// A call of every operator of the registry that succeeds, small and without symmetries.
#pragma once

#include <string>
#include <vector>

#include "check/op_registry.h"
#include "tensor/tensor.h"

namespace lastbit::check {

struct OpCase {
  std::string op;
  tensor::NamedTensors inputs;
  OpSettings settings;
};

// At least one for every operator; each gives every optional input that goes with the others.
[[nodiscard]] std::vector<OpCase> op_cases();

}  // namespace lastbit::check
