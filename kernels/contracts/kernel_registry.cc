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

std::optional<check::Implementation> find_kernel_with(const std::string& contract, const std::string& name,
                                                      check::Implementation (*run_on)(const ContractKernel& kernel,
                                                                                      Version version)) {
  for (const ContractKernel& kernel : kernel_registry()) {
    if (kernel.contract != contract) continue;
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      check::Implementation implementation = run_on(kernel, version);
      const bool by_version = name == (version == Version::kObvious ? "v0" : "tuned");
      if (by_version || implementation.name == name) return implementation;
    }
  }
  return std::nullopt;
}

}  // namespace lastbit::kernels
