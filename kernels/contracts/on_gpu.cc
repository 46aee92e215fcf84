#include <iterator>

#include "kernels/contracts/kernel_registry.h"
#include "kernels/cuda/event_clock.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned char kGpuFills[] = {0xa5, 0x5a};  // of the outputs, by run

check::KernelRun run_twice(const ContractKernel& kernel, const check::KernelCall& call, Version version) {
  check::KernelRun run;
  for (const unsigned char fill : kGpuFills) {
    const DeviceCall device(call, version, fill);
    const Launch launch = kernel.prepare(device);
    launch();
    run.results.push_back(device.results());
    run.fill.push_back(fill);
    // Of kernels alone, and after the results are taken: one that adds to its output adds once more every time.
    if (run.fill.size() == std::size(kGpuFills)) run.seconds = cuda::median_seconds(launch);
  }
  return run;
}

}  // namespace

check::Implementation on_gpu(const ContractKernel& kernel, Version version) {
  return {kernel.name + (version == Version::kObvious ? ":v0" : ":tuned"), "on a GPU",
          [kernel](const check::Contract& contract) { return contract.name == kernel.contract; },
          [kernel, version](const check::KernelCall& call) {
            const std::string reason = kernel.refuse(call);
            if (reason.empty()) return run_twice(kernel, call, version);
            check::KernelRun run;
            run.status = check::RunStatus::kUnsupported;
            run.message = reason;
            return run;
          }};
}

std::optional<check::Implementation> find_kernel(const std::string& contract, const std::string& name) {
  return find_kernel_with(contract, name, [](const ContractKernel& kernel, Version version) {
    ContractKernel any_unit = kernel;  // the caller says which one this GPU's mma.sync is
    if (kernel.contract == "bf16_gemm") any_unit.refuse = refuse_bf16_types;
    return on_gpu(any_unit, version);
  });
}

}  // namespace lastbit::kernels
