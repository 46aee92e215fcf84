// Which weights an optimiser treats alike.
#pragma once

#include <string>
#include <vector>

#include "model/weight_specs.h"

namespace lastbit::model {

struct ParameterGroup {
  std::string name;  // matrices, embeddings, norms, biases
  bool weight_decay = false;
  std::vector<std::string> weights;
};

struct ParameterGroupOptions {
  bool decay_embeddings = true;  // the input embedding and the head
};

// The trained weights of `specs` in their order: matrices decay, norms and biases do not, embeddings and head by
// option. Not among them: copies, and the routing bias, which balancing moves and no gradient reaches. Groups without
// weights are left out.
[[nodiscard]] std::vector<ParameterGroup> parameter_groups(const std::vector<WeightSpec>& specs,
                                                           const ParameterGroupOptions& options = {});

}  // namespace lastbit::model
