// Every kernel against its contract on a real GPU: what the executor's test runs (tests/kernels/contracts), there. It
// has been compiled and linked; it has not run yet.
#include <fmt/format.h>

#include <cstdio>

#include "check/validation.h"
#include "core/error.h"
#include "kernels/contracts/kernel_registry.h"
#include "kernels/cuda/bf16_gemm_nt_cublaslt.h"

namespace {

using namespace lastbit;

std::string refuse_product(const check::KernelCall& call) {
  const auto is = [&](const char* key, const char* value) { return call.settings.text(key) == value; };
  const bool fits = is("a_type", "bf16") && is("b_type", "bf16") && !is("d_type", "f16") && is("promotion", "none");
  return fits ? "" : "BF16 operands, a result of BF16 or FP32, no promotion";
}

void run_product(const kernels::DeviceCall& call) {
  cuda::bf16_gemm_nt_cublaslt({call.input<const std::uint16_t>("a"), call.input<const std::uint16_t>("b"),
                               call.output<void>("d"), call.setting("d_type") == "f32", call.size("a", 0),
                               call.size("b", 0), call.size("a", 1)});
}

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
    // Its order of additions is cuBLASLt's own, so it is bitwise only where that is one chain along K.
    const kernels::ContractKernel product{"bf16_gemm", "bf16_gemm_nt_cublaslt", "cuBLASLt's", refuse_product,
                                          run_product};
    all = run_kernel(product, kernels::Version::kTuned) && all;
    return all ? core::kExitOk : core::kExitCheckFailed;
  } catch (const core::Error& error) {
    fmt::print(stderr, "contracts_on_gpu: {}\n", error.what());
    return core::exit_code(error.kind());
  }
}
