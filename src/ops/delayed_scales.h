// Delayed scaling of a whole model: one scale a tensor, from the largest magnitudes of the steps before. Source: NVIDIA
// TransformerEngine, DelayedScaling with amax_compute_algo "max" and margin 0 (numerics/quantize.h has the rule).
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "numerics/quantize.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// The histories of all tensors that were ever quantised. Operands of products that run beside each other may be looked
// up and observed at the same time; no result depends on their order.
class DelayedScales {
 public:
  DelayedScales() = default;
  DelayedScales(const DelayedScales& other);
  DelayedScales& operator=(const DelayedScales& other);

  // Of the steps that have ended; 1 before the first.
  [[nodiscard]] float scale(const std::string& tensor, const numerics::QuantizeRule& rule, std::size_t steps);
  // The largest magnitude of the tensor in this step so far is at least `amax`. After scale() of the same tensor.
  void observe(const std::string& tensor, float amax);
  void end_step();

  // By tensor, F32 [steps]: the largest magnitudes, the oldest first.
  [[nodiscard]] tensor::NamedTensors histories() const;
  // Goes on from them. The rules are known when the tensors are next asked for.
  void restore(const tensor::NamedTensors& histories);

 private:
  struct Entry {
    numerics::DelayedScaling scaling;
    float seen = 0;
  };

  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  tensor::NamedTensors restored_;  // of tensors not asked for since
};

}  // namespace lastbit::ops
