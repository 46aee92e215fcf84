// Contracts of casts and quantisers.
#include "kernels/contracts/kernel_registry.h"
#include "kernels/quantize/quantize.h"

namespace lastbit::kernels {
namespace {

QuantizeRule quantize_rule(const DeviceCall& call) {
  QuantizeRule rule;
  rule.e5m2 = call.setting("format") == "e5m2";
  rule.power = call.setting("scale") == "ue8m0";
  rule.reciprocal = call.setting("method") == "reciprocal";
  rule.epsilon = call.setting("zero_block") == "epsilon";
  rule.amax_epsilon = static_cast<float>(call.call().settings.number("amax_epsilon"));
  return rule;
}

QuantizeInput quantize_input(const DeviceCall& call) {
  return {call.input<const void>("x"), call.setting("x_type") == "bf16", call.size("x", 0), call.size("x", 1)};
}

std::string takes_all(const check::KernelCall& /*call*/) { return {}; }

void run_1x128(const DeviceCall& call) {
  auto* const quantize = call.setting("transpose") == "true" ? quantize_1x128_transposed : quantize_1x128;
  quantize(quantize_input(call), quantize_rule(call), call.output<std::uint8_t>("codes"), call.output<float>("scales"),
           call.version());
}

void run_128x128(const DeviceCall& call) {
  quantize_128x128(quantize_input(call), quantize_rule(call), call.setting("transpose") == "true",
                   call.output<std::uint8_t>("codes"), call.output<float>("scales"), call.version());
}

void run_swiglu(const DeviceCall& call) {
  swiglu_quantize_1x128(call.input<const std::uint16_t>("gate"), call.input<const std::uint16_t>("up"),
                        call.size("gate", 0), call.size("gate", 1), call.setting("between") == "bf16",
                        quantize_rule(call), call.output<std::uint8_t>("codes"), call.output<float>("scales"),
                        call.version());
}

}  // namespace

std::vector<ContractKernel> quantize_kernels() {
  return {{"quantize_1x128", "quantize_1x128", kPortable, takes_all, prepare<run_1x128>},
          {"quantize_128x128", "quantize_128x128", kPortable, takes_all, prepare<run_128x128>},
          {"swiglu_quantize_1x128", "swiglu_quantize_1x128", kPortable, takes_all, prepare<run_swiglu>}};
}

}  // namespace lastbit::kernels
