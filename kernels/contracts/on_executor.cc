#include <chrono>
#include <cstring>

#include "kernels/contracts/kernel_registry.h"
#include "kernels/doctor/device_path.h"
#include "kernels/simt/finding.h"
#include "kernels/simt/order.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned char kFills[] = {0xa5, 0x5a, 0xa5};  // of the outputs, by order

// The first array of `a` and `b`, filled alike before, that differs between two orders; empty: none.
std::string differing_array(const tensor::NamedTensors& a, const tensor::NamedTensors& b) {
  for (const auto& [name, tensor] : a) {
    const auto one = tensor.bytes();
    const auto two = b.at(name).bytes();
    if (!one.empty() && std::memcmp(one.data(), two.data(), one.size()) != 0) return name;
  }
  return {};
}

check::KernelRun run_in_every_order(const ContractKernel& kernel, const check::KernelCall& call, Version version) {
  check::KernelRun run;
  const auto begin = std::chrono::steady_clock::now();
  try {
    std::vector<tensor::NamedTensors> results;
    for (const simt::Order order : simt::kOrders) {
      const simt::OrderScope scope(order);
      const DeviceCall device(call, version, kFills[results.size()]);
      kernel.prepare(device)();
      results.push_back(device.results());
    }
    if (const std::string name = differing_array(results[0], results[2]); !name.empty())
      run.violations.push_back(name + ": the order in which warps run shows in the results");
    results.pop_back();
    run.fill.assign(kFills, kFills + 2);
    run.results = std::move(results);
  } catch (const simt::Finding& finding) {
    run.status = check::RunStatus::kFailed;
    run.message = finding.what();
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return run;
}

}  // namespace

check::Implementation on_executor(const ContractKernel& kernel, Version version) {
  const bool obvious = version == Version::kObvious;
  return {kernel.name + (obvious ? ":v0" : ":tuned"),
          obvious ? "the kernel as one would write it down, on the executor" : "the tuned kernel, on the executor",
          [kernel](const check::Contract& contract) { return contract.name == kernel.contract; },
          [kernel, version](const check::KernelCall& call) {
            const std::string reason = kernel.refuse(call);
            if (reason.empty()) return run_in_every_order(kernel, call, version);
            check::KernelRun run;
            run.status = check::RunStatus::kUnsupported;
            run.message = reason;
            return run;
          }};
}

std::optional<check::Implementation> find_kernel(const std::string& contract, const std::string& name) {
  return find_kernel_with(contract, name, on_executor);
}

DoctorPlace executor_place() {
  DoctorPlace place;
  place.device.name = "the executor on the CPU";
  place.run_on = on_executor;
  place.device_path = examine_device_path;
  place.candidates = registry_candidates(place.device);
  return place;
}

}  // namespace lastbit::kernels
