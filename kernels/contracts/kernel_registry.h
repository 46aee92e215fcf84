// The kernels behind check's contracts: which contract each fulfils, and how a call of it becomes a launch.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/contracts/architectures.h"
#include "kernels/contracts/device_call.h"

namespace lastbit::kernels {

// Sends a call's kernels, and does nothing besides: no allocation, no copy between host and device, so that what is
// timed are kernels. It holds the arrays that it needs beside the call's, and may run again; kernels that add to what
// is there then add again.
using Launch = std::function<void()>;

struct ContractKernel {
  std::string contract;
  std::string name;           // "quantize_1x128": with the version behind it the implementation's name
  std::string architectures;  // that it is compiled for, as runs_on() reads them
  // Why a call is none of this kernel's; empty: it is.
  std::string (*refuse)(const check::KernelCall& call);
  Launch (*prepare)(const DeviceCall& call);  // `call` outlives what is returned
};

// Of a kernel that takes the call's arrays as they are.
template <void (*kRun)(const DeviceCall& call)>
[[nodiscard]] Launch prepare(const DeviceCall& call) {
  return [&call] { kRun(call); };
}

// By contract, as contract_registry() orders them.
[[nodiscard]] const std::vector<ContractKernel>& kernel_registry();

[[nodiscard]] std::vector<ContractKernel> gemm_kernels();
[[nodiscard]] std::vector<ContractKernel> quantize_kernels();
[[nodiscard]] std::vector<ContractKernel> layer_kernels();
[[nodiscard]] std::vector<ContractKernel> attention_kernels();
[[nodiscard]] std::vector<ContractKernel> routing_kernels();
[[nodiscard]] std::vector<ContractKernel> gradient_kernels();
[[nodiscard]] std::vector<ContractKernel> training_kernels();

// `refuse` of the BF16 products without a look at the unit: which one mma.sync is depends on the GPU.
[[nodiscard]] std::string refuse_bf16_types(const check::KernelCall& call);

// mma.sync behind contract mma, for check::probe_mma(); not in the registry.
[[nodiscard]] ContractKernel mma_dots_kernel();

// Runs the kernel on the executor in every order, on outputs of other bytes each time. A Finding is a violation of the
// run, and so are results that depend on the order. The name is "quantize_1x128:v0" or "quantize_1x128:tuned".
[[nodiscard]] check::Implementation on_executor(const ContractKernel& kernel, Version version);
// Runs it twice on the GPU of this machine; in the build for one alone. Its time is the GPU's own. Errors: as
// cuda::require_success().
[[nodiscard]] check::Implementation on_gpu(const ContractKernel& kernel, Version version);

// The first kernel of this contract by "v0" or "tuned", or any by its implementation's name, on what this build runs
// kernels on; nothing where there is none.
[[nodiscard]] std::optional<check::Implementation> find_kernel(const std::string& contract, const std::string& name);
// Likewise, on what `run_on` says.
[[nodiscard]] std::optional<check::Implementation> find_kernel_with(
    const std::string& contract, const std::string& name,
    check::Implementation (*run_on)(const ContractKernel& kernel, Version version));

}  // namespace lastbit::kernels
