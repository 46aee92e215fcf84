// Contracts of gradients.
#include <memory>

#include "kernels/attention/mla.h"
#include "kernels/contracts/kernel_registry.h"
#include "kernels/layers/embedding.h"
#include "kernels/layers/layer_gradients.h"
#include "kernels/routing/routing_gradients.h"

namespace lastbit::kernels {
namespace {

using Codes = std::uint16_t;

std::string takes_gradient(const check::KernelCall& /*call*/) { return {}; }

using Scratch = std::shared_ptr<const simt::DeviceArray<float>>;

Scratch scratch(const std::string& name, std::size_t count) {
  return std::make_shared<const simt::DeviceArray<float>>(name, count);
}

// An output that the kernel adds to begins as zeros.
float* zeroed_output(const DeviceCall& call, const std::string& name, std::size_t count) {
  const std::vector<float> zeros(count);
  auto* const output = call.output<float>(name);
  simt::copy_to_device(output, std::as_bytes(std::span(zeros)));
  return output;
}

Launch prepare_norm_gradient(const DeviceCall& call) {
  const int tokens = call.size("x", 0);
  const int d = call.size("x", 1);
  const auto columns = static_cast<std::size_t>(d);
  const Scratch factors = scratch("factors", static_cast<std::size_t>(tokens));
  const Scratch partials =
      scratch("partials", static_cast<std::size_t>((tokens + kNormRows - 1) / kNormRows) * columns);
  auto* const dweight = zeroed_output(call, "dweight", columns);
  return [=, &call] {
    rms_norm_backward<Codes>({call.input<const Codes>("dy"), call.input<const Codes>("x"),
                              call.input<const Codes>("weight"), call.output<Codes>("dx"), dweight, factors->data(),
                              partials->data(), tokens, d, static_cast<float>(call.call().settings.number("eps"))},
                             call.version());
  };
}

void run_swiglu_gradient(const DeviceCall& call) {
  swiglu_backward<Codes>(call.input<const Codes>("dy"), call.input<const Codes>("gate"), call.input<const Codes>("up"),
                         call.size("dy", 0) * call.size("dy", 1), call.output<Codes>("dgate"),
                         call.output<Codes>("dup"), call.version());
}

Launch prepare_attention_gradient(const DeviceCall& call) {
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
  const Scratch dots = scratch("dots", static_cast<std::size_t>(queries) * static_cast<std::size_t>(heads));
  const MlaShape shape{1,
                       queries,
                       keys,
                       heads,
                       kNope,
                       kQuery - kNope,
                       kValue,
                       static_cast<float>(settings.number("scale")),
                       settings.flag("causal")};
  const MlaBackward gradient{{{call.input<const Codes>("q"), wide, kQuery},
                              {k, wide, kQuery},
                              {k + kNope, wide, kQuery},
                              {call.input<const Codes>("v"), narrow, kValue},
                              shape},
                             {call.input<const Codes>("out"), narrow, kValue},
                             {call.input<const Codes>("dout"), narrow, kValue},
                             call.input<const float>("lse"),
                             dots->data(),
                             {call.output<float>("dq"), wide, kQuery},
                             {dk, wide, kQuery},
                             {dk + kNope, wide, kQuery},
                             {call.output<float>("dv"), narrow, kValue}};
  return [dots, gradient, version = call.version()] { mla_backward(gradient, version); };
}

std::string refuse_choice(const check::KernelCall& call) {
  const tensor::Tensor& slots = call.inputs.at(call.inputs.contains("topk_idx") ? "topk_idx" : "row_of_slot");
  return slots.dim(1) <= kMostTopK ? "" : "more than 32 experts a token";
}

void run_router_gradient(const DeviceCall& call) {
  const check::ContractSettings& settings = call.call().settings;
  const RouterRule rule{call.size("logits", 1),
                        1,
                        1,
                        call.size("topk_idx", 1),
                        false,
                        settings.flag("norm_topk_prob"),
                        static_cast<float>(settings.number("scale"))};
  route_backward(call.input<const float>("logits"), call.input<const std::int64_t>("topk_idx"),
                 call.input<const float>("dweights"), call.size("logits", 0), rule, call.output<float>("dlogits"),
                 call.version());
}

void run_unpermute_gradient(const DeviceCall& call) {
  unpermute_backward<Codes>(
      {call.input<const Codes>("dy"),
       call.input<const Codes>("rows"),
       call.input<const std::int64_t>("offsets"),
       call.input<const std::int64_t>("row_of_slot"),
       call.input<const float>("weights"),
       call.output<Codes>("drows"),
       call.output<float>("dweights"),
       {call.size("dy", 0), call.size("dy", 1), call.size("offsets", 0) - 1, call.size("row_of_slot", 1)}},
      call.version());
}

Launch prepare_embedding_gradient(const DeviceCall& call) {
  const int d = call.size("dy", 1);
  const auto vocabulary = static_cast<std::size_t>(call.call().inputs.at("vocabulary").values<std::int64_t>()[0]);
  auto* const dtable = zeroed_output(call, "dtable", vocabulary * static_cast<std::size_t>(d));
  return [=, &call] {
    embedding_backward<Codes>(call.input<const Codes>("dy"), call.input<const std::int64_t>("ids"), call.size("dy", 0),
                              d, dtable, call.version());
  };
}

}  // namespace

std::vector<ContractKernel> gradient_kernels() {
  return {{"rms_norm_backward", "rms_norm_backward", kPortable, takes_gradient, prepare_norm_gradient},
          {"swiglu_backward", "swiglu_backward", kPortable, takes_gradient, prepare<run_swiglu_gradient>},
          {"mla_prefill_backward", "mla_backward", kPortable, takes_gradient, prepare_attention_gradient},
          {"router_backward", "route_backward", kPortable, refuse_choice, prepare<run_router_gradient>},
          {"unpermute_backward", "unpermute_backward", kPortable, refuse_choice, prepare<run_unpermute_gradient>},
          {"embedding_backward", "embedding_backward", kPortable, takes_gradient, prepare_embedding_gradient}};
}

}  // namespace lastbit::kernels
