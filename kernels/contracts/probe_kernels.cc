// Contract mma through mma.sync, for probing: which unit it is remains to be seen, so it is not in the registry.
#include <optional>

#include "kernels/contracts/kernel_registry.h"
#include "kernels/probe/mma_dots.h"

namespace lastbit::kernels {
namespace {

constexpr int kStepBytes = 32;

std::optional<arch::MmaTypes> types_of(const check::KernelCall& call) {
  const std::string types = call.settings.text("a_type") + " " + call.settings.text("b_type");
  if (types == "e4m3 e4m3") return arch::MmaTypes::kE4M3;
  if (types == "e5m2 e5m2") return arch::MmaTypes::kE5M2;
  if (types == "e4m3 e5m2") return arch::MmaTypes::kE4M3E5M2;
  if (types == "f16 f16") return arch::MmaTypes::kF16;
  if (types == "bf16 bf16") return arch::MmaTypes::kBF16;
  if (types == "tf32 tf32") return arch::MmaTypes::kTF32;
  return std::nullopt;
}

std::int64_t row_bytes(const check::KernelCall& call) {
  const tensor::Tensor& a = call.inputs.at("a");
  return static_cast<std::int64_t>(a.nbytes()) / a.dim(0);
}

std::string refuse_dots(const check::KernelCall& call) {
  if (!types_of(call) || call.settings.text("d_type") != "f32") return "no instruction of these types";
  return row_bytes(call) % kStepBytes == 0 ? "" : "a dot is as many whole instructions, of 32 bytes of K";
}

void run_dots(const DeviceCall& call) {
  mma_dots(*types_of(call.call()),
           {call.input<const unsigned>("a"), call.input<const unsigned>("b"), call.input<const float>("c"),
            call.output<float>("d"), call.size("a", 0), static_cast<int>(row_bytes(call.call()) / kStepBytes)});
}

}  // namespace

ContractKernel mma_dots_kernel() { return {"mma", "mma_dots", kPortable, refuse_dots, prepare<run_dots>}; }

}  // namespace lastbit::kernels
