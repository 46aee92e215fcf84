#include <algorithm>
#include <chrono>

#include "kernels/contracts/kernel_registry.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned char kGpuFills[] = {0xa5, 0x5a};  // of the outputs, by run

check::KernelRun run_twice(const ContractKernel& kernel, const check::KernelCall& call, Version version) {
  check::KernelRun run;
  for (const unsigned char fill : kGpuFills) {
    const DeviceCall device(call, version, fill);
    const auto begin = std::chrono::steady_clock::now();
    kernel.run(device);
    run.results.push_back(device.results());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    run.seconds = run.fill.empty() ? seconds : std::min(run.seconds, seconds);
    run.fill.push_back(fill);
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

}  // namespace lastbit::kernels
