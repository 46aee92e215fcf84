#include "kernels/contracts/kernel_registry.h"

#include <iterator>

namespace lastbit::kernels {

const std::vector<ContractKernel>& kernel_registry() {
  static const std::vector<ContractKernel> all = [] {
    std::vector<ContractKernel> kernels;
    for (auto* family : {gemm_kernels, quantize_kernels, layer_kernels, attention_kernels, routing_kernels,
                         gradient_kernels, training_kernels}) {
      std::vector<ContractKernel> some = family();
      kernels.insert(kernels.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return kernels;
  }();
  return all;
}

}  // namespace lastbit::kernels
