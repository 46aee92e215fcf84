// What a pass will hold in memory, counted from the configuration before anything is read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/pass_context.h"
#include "ops/numerics.h"

namespace lastbit::model {

struct MemoryPart {
  std::string name;
  double bytes = 0;
};

struct PlannedPass {
  std::int64_t batch = 1;
  std::int64_t tokens = 1;  // a row
  bool backward = false;
  bool stream = false;  // one layer's weights at a time
  bool mtp = false;
  Recompute recompute;
};

// Weights, gradients, what each kind of layer keeps for the backward pass (under the numerics: codes where they stand
// for values), codes of weights where the backward pass or the next tokens have those of the forward pass, and the
// largest working set beside them. Sums of tensors; allocator overhead and code are not in it.
[[nodiscard]] std::vector<MemoryPart> memory_plan(const ModelConfig& config, const ops::Numerics& numerics,
                                                  const PlannedPass& pass);
[[nodiscard]] double total_bytes(const std::vector<MemoryPart>& plan);

// As an aligned table.
[[nodiscard]] std::string memory_plan_text(const std::vector<MemoryPart>& plan);

}  // namespace lastbit::model
