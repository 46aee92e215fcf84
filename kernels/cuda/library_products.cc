#include "kernels/cuda/library_products.h"

#include "kernels/cuda/bf16_gemm_nt_cublaslt.h"
#include "kernels/cuda/fp8_gemm_1x128_128x128_nt_cublaslt.h"

namespace lastbit::cuda {
namespace {

using kernels::DeviceCall;

std::string refuse_bf16(const check::KernelCall& call) {
  const auto is = [&](const char* key, const char* value) { return call.settings.text(key) == value; };
  if (!is("a_type", "bf16") || !is("b_type", "bf16") || is("d_type", "f16")) return "it takes BF16, to BF16 or FP32";
  return is("promotion", "none") ? "" : "it does not promote";
}

void run_bf16(const DeviceCall& call) {
  bf16_gemm_nt_cublaslt({call.input<const std::uint16_t>("a"), call.input<const std::uint16_t>("b"),
                         call.output<void>("d"), call.setting("d_type") == "f32", call.size("a", 0), call.size("b", 0),
                         call.size("a", 1)});
}

std::string refuse_fp8(const check::KernelCall& call) {
  const auto is = [&](const char* key, const char* value) { return call.settings.text(key) == value; };
  if (!call.inputs.contains("scale_a")) return "it takes scales";
  if (!is("a_type", "e4m3") || !is("b_type", "e4m3") || is("d_type", "f16")) return "it takes E4M3, to BF16 or FP32";
  return refuse_fp8_gemm_1x128_128x128_nt_cublaslt(call.inputs.at("a").dim(0), call.inputs.at("b").dim(0),
                                                   call.inputs.at("a").dim(1));
}

void run_fp8(const DeviceCall& call) {
  fp8_gemm_1x128_128x128_nt_cublaslt({call.input<const std::uint8_t>("a"), call.input<const std::uint8_t>("b"),
                                      call.input<const float>("scale_a"), call.input<const float>("scale_b"),
                                      call.output<void>("d"), call.setting("d_type") == "f32", call.size("a", 0),
                                      call.size("b", 0), call.size("a", 1)});
}

}  // namespace

std::vector<kernels::Candidate> library_products() {
  const auto product = [](kernels::ContractKernel kernel) {
    const check::Contract& contract = kernels::product_within_magnitudes(kernel.contract);
    return kernels::Candidate{std::move(kernel), kernels::Version::kTuned, &contract, "cublaslt", {}};
  };
  // Any GPU has BF16. cuBLASLt scales blocks on Hopper alone; a Blackwell has other blocks (MX).
  return {product({"bf16_gemm", "bf16_gemm_nt_cublaslt", kernels::kPortable, refuse_bf16, kernels::prepare<run_bf16>}),
          product({"fp8_gemm", "fp8_gemm_1x128_128x128_nt_cublaslt", "sm_90a", refuse_fp8, kernels::prepare<run_fp8>})};
}

}  // namespace lastbit::cuda
