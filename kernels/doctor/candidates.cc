#include "kernels/doctor/candidates.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"

namespace lastbit::kernels {
namespace {

constexpr float kShareOfMagnitudes = 0x1p-6F;

// Codes without their signs, and numbers likewise.
tensor::Tensor magnitudes_of(const tensor::Tensor& signed_values) {
  tensor::Tensor result = signed_values.contiguous();
  const std::size_t width = tensor::size_of(result.dtype());
  const auto from = result.bytes();
  tensor::Tensor copy = tensor::Tensor::empty(result.dtype(), result.shape());
  const auto to = copy.mutable_bytes();
  for (std::size_t i = 0; i < from.size(); ++i) {
    const bool top = i % width == width - 1;
    to[i] = top ? from[i] & std::byte{0x7f} : from[i];
  }
  return copy;
}

check::ExpectedOutputs expect_within(const check::Contract& exact, const tensor::NamedTensors& inputs,
                                     const check::ContractSettings& settings) {
  check::ExpectedOutputs expected = exact.expect(inputs, settings);
  tensor::NamedTensors magnitudes;
  for (const auto& [name, tensor] : inputs) magnitudes.emplace(name, magnitudes_of(tensor));
  const check::ExpectedOutputs sums = exact.expect(magnitudes, settings.with({{"d_type", "f32"}}));
  tensor::Tensor bound = tensor::Tensor::empty(tensor::DType::kF32, sums.at("d").value.shape());
  const auto from = sums.at("d").value.values<float>();
  const auto to = bound.mutable_values<float>();
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = kShareOfMagnitudes * from[i];
  expected.at("d").bound = std::move(bound);
  return expected;
}

template <typename Expect>
check::Contract within_magnitudes(const std::string& name, Expect expect) {
  check::Contract contract = check::find_contract(name);
  contract.outputs.front().tolerance = check::ToleranceClass::kBand;
  contract.outputs.front().derivation = "2^-6 of the sum of the products' magnitudes: the order of additions is free";
  contract.expect = expect;
  contract.alternatives = [](const check::ContractSettings& /*settings*/) { return std::vector<check::Alternative>{}; };
  return contract;
}

void hold_to_unit(const std::string& unit, const DeviceInfo& device, Candidate& candidate) {
  candidate.kernel.refuse = refuse_bf16_types;  // the unit is chosen here
  if (!unit.empty()) {
    candidate.settings = {{"unit", unit}};
    return;
  }
  candidate.contract = &product_within_magnitudes(candidate.kernel.contract);
  candidate.note =
      fmt::format("no unit is known to have the bits of mma.sync on sm_{}{}: held to the band of any order",
                  device.major, device.minor);
}

}  // namespace

std::string mma_sync_unit(const DeviceInfo& device) {
  if (!device.is_gpu) return "ampere_mma";  // kernels/arch/mma_sync.cc
  if (device.major == 8) return device.minor == 9 ? "ada_mma" : "ampere_mma";
  return device.major == 9 ? "hopper_mma_sync" : "";
}

std::vector<Candidate> registry_candidates(const DeviceInfo& device) {
  const std::string unit = mma_sync_unit(device);
  std::vector<Candidate> all;
  for (const ContractKernel& kernel : kernel_registry())
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      Candidate candidate{kernel, version, &check::find_contract(kernel.contract),
                          version == Version::kObvious ? "v0" : "tuned"};
      if (kernel.contract == "bf16_gemm") hold_to_unit(unit, device, candidate);
      all.push_back(std::move(candidate));
    }
  return all;
}

const check::Contract& product_within_magnitudes(const std::string& contract) {
  static const check::Contract fp8 =
      within_magnitudes("fp8_gemm", [](const tensor::NamedTensors& inputs, const check::ContractSettings& settings) {
        return expect_within(check::find_contract("fp8_gemm"), inputs, settings);
      });
  static const check::Contract bf16 =
      within_magnitudes("bf16_gemm", [](const tensor::NamedTensors& inputs, const check::ContractSettings& settings) {
        return expect_within(check::find_contract("bf16_gemm"), inputs, settings);
      });
  core::check(contract == fp8.name || contract == bf16.name, "a dense product");
  return contract == fp8.name ? fp8 : bf16;
}

}  // namespace lastbit::kernels
