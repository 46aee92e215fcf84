// Every kernel against its contract on a real GPU: what the executor's test runs (tests/kernels/contracts), there. It
// has been compiled and linked; it has not run yet.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "check/validation.h"
#include "core/error.h"
#include "kernels/contracts/kernel_registry.h"

namespace {

using namespace lastbit;

// Prints one line; whether the kernel was accepted, or has nothing to do with this contract's shapes.
bool run_kernel(const kernels::ContractKernel& kernel, kernels::Version version) {
  const check::Contract& contract = check::find_contract(kernel.contract);
  check::ValidationRequest request;
  request.contract = &contract;
  request.settings = check::contract_settings(contract, {});
  const check::Implementation implementation = kernels::on_gpu(kernel, version);
  const check::Validation validation = check::validate(request, implementation);
  fmt::print("{:<9} {:<30} {:<44} {} of {} cases\n", validation.passed() ? "ACCEPTED" : "REJECTED", contract.name,
             implementation.name, validation.count(&check::CaseReport::passed), validation.cases.size());
  for (const check::CaseReport& report : validation.cases)
    for (const check::Finding& finding : report.findings) fmt::print("  {}: {}\n", report.id.name(), finding.text);
  return validation.passed();
}

}  // namespace

int main() {
  try {
    bool all = true;
    for (const kernels::ContractKernel& kernel : kernels::kernel_registry())
      for (const kernels::Version version : {kernels::Version::kObvious, kernels::Version::kTuned})
        all = run_kernel(kernel, version) && all;
    return all ? core::kExitOk : core::kExitCheckFailed;
  } catch (const core::Error& error) {
    fmt::print(stderr, "contracts_on_gpu: {}\n", error.what());
    return core::exit_code(error.kind());
  }
}
