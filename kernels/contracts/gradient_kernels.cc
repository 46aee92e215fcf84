// Contracts of gradients.
#include "kernels/attention/mla.h"
#include "kernels/contracts/kernel_registry.h"
#include "kernels/layers/elementwise.h"
#include "kernels/layers/layer_gradients.h"

namespace lastbit::kernels {
namespace {

using Codes = std::uint16_t;

std::string takes_gradient(const check::KernelCall& /*call*/) { return {}; }

void run_norm_gradient(const DeviceCall& call) {
  const int tokens = call.size("x", 0);
  const int d = call.size("x", 1);
  const auto columns = static_cast<std::size_t>(d);
  const std::vector<float> zeros(columns);
  const simt::DeviceArray<float> dweight("dweight, added to", std::span<const float>(zeros));
  const simt::DeviceArray<float> nothing("zeros", std::span<const float>(zeros));
  const simt::DeviceArray<float> factors("factors", static_cast<std::size_t>(tokens));
  const simt::DeviceArray<float> partials("partials",
                                          static_cast<std::size_t>((tokens + kNormRows - 1) / kNormRows) * columns);
  rms_norm_backward<Codes>({call.input<const Codes>("dy"), call.input<const Codes>("x"),
                            call.input<const Codes>("weight"), call.output<Codes>("dx"), dweight.data(), factors.data(),
                            partials.data(), tokens, d, static_cast<float>(call.call().settings.number("eps"))},
                           call.version());
  add<float>(dweight.data(), nothing.data(), columns, call.output<float>("dweight"), call.version());
}

void run_swiglu_gradient(const DeviceCall& call) {
  swiglu_backward<Codes>(call.input<const Codes>("dy"), call.input<const Codes>("gate"), call.input<const Codes>("up"),
                         call.size("dy", 0) * call.size("dy", 1), call.output<Codes>("dgate"),
                         call.output<Codes>("dup"), call.version());
}

void run_attention_gradient(const DeviceCall& call) {
  constexpr int kNope = 128;  // of a head's 192 elements, 64 with position
  constexpr int kQuery = 192;
  constexpr int kValue = 128;
  const check::ContractSettings& settings = call.call().settings;
  const int queries = call.size("q", 0);
  const int keys = call.size("k", 0);
  const int heads = call.size("q", 1);
  const auto* const k = call.input<const Codes>("k");
  auto* const dk = call.output<float>("dk");
  const int wide = heads * kQuery;
  const int narrow = heads * kValue;
  const simt::DeviceArray<float> dots("dots", static_cast<std::size_t>(queries) * static_cast<std::size_t>(heads));
  const MlaShape shape{1,
                       queries,
                       keys,
                       heads,
                       kNope,
                       kQuery - kNope,
                       kValue,
                       static_cast<float>(settings.number("scale")),
                       settings.flag("causal")};
  mla_backward({{{call.input<const Codes>("q"), wide, kQuery},
                 {k, wide, kQuery},
                 {k + kNope, wide, kQuery},
                 {call.input<const Codes>("v"), narrow, kValue},
                 shape},
                {call.input<const Codes>("out"), narrow, kValue},
                {call.input<const Codes>("dout"), narrow, kValue},
                call.input<const float>("lse"),
                dots.data(),
                {call.output<float>("dq"), wide, kQuery},
                {dk, wide, kQuery},
                {dk + kNope, wide, kQuery},
                {call.output<float>("dv"), narrow, kValue}},
               call.version());
}

}  // namespace

std::vector<ContractKernel> gradient_kernels() {
  return {{"rms_norm_backward", "rms_norm_backward", kPortable, takes_gradient, run_norm_gradient},
          {"swiglu_backward", "swiglu_backward", kPortable, takes_gradient, run_swiglu_gradient},
          {"mla_prefill_backward", "mla_backward", kPortable, takes_gradient, run_attention_gradient}};
}

}  // namespace lastbit::kernels
