// Contracts of normalisation and rotary embedding.
#include "kernels/contracts/kernel_registry.h"
#include "kernels/layers/layers.h"

namespace lastbit::kernels {
namespace {

std::string takes_any(const check::KernelCall& /*call*/) { return {}; }

void run_rms_norm(const DeviceCall& call) {
  rms_norm(call.input<const std::uint16_t>("x"), call.input<const std::uint16_t>("weight"), call.size("x", 0),
           call.size("x", 1), static_cast<float>(call.call().settings.number("eps")), call.output<std::uint16_t>("y"),
           call.version());
}

void run_rope(const DeviceCall& call) {
  const std::string& name = call.setting("layout");
  const RopeLayout layout = name == "half_split"    ? RopeLayout::kHalfSplit
                            : name == "interleaved" ? RopeLayout::kInterleaved
                                                    : RopeLayout::kInterleavedToHalves;
  rope(call.input<const std::uint16_t>("x"), call.input<const float>("cos"), call.input<const float>("sin"),
       {call.size("x", 0), call.size("x", 1), call.size("x", 2), call.size("x", 2)}, layout,
       call.output<std::uint16_t>("y"), call.version());
}

}  // namespace

std::vector<ContractKernel> layer_kernels() {
  return {{"rms_norm", "rms_norm", kPortable, takes_any, prepare<run_rms_norm>},
          {"rope", "rope", kPortable, takes_any, prepare<run_rope>}};
}

}  // namespace lastbit::kernels
