// Contracts of the router and of the way to experts and back.
#include "kernels/contracts/kernel_registry.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {
namespace {

std::string refuse_route(const check::KernelCall& call) {
  const bool fits = call.inputs.at("logits").dim(1) <= kMostExperts && call.settings.whole("n_group") <= kMostGroups &&
                    call.settings.whole("top_k") <= kMostTopK;
  return fits ? "" : "more than 1024 experts, 32 groups or 32 experts a token";
}

void run_route(const DeviceCall& call) {
  const check::ContractSettings& settings = call.call().settings;
  const RouterRule rule{call.size("logits", 1),
                        static_cast<int>(settings.whole("n_group")),
                        static_cast<int>(settings.whole("topk_group")),
                        static_cast<int>(settings.whole("top_k")),
                        settings.text("group_rank") == "max",
                        settings.flag("norm_topk_prob"),
                        static_cast<float>(settings.number("scale"))};
  route(call.input<const float>("logits"), call.input<const float>("bias"), call.size("logits", 0), rule,
        call.output<std::int64_t>("topk_idx"), call.output<float>("topk_weight"), call.version());
}

std::string refuse_permute(const check::KernelCall& call) {
  const bool fits = call.inputs.at("experts").values<std::int64_t>()[0] <= kMostExperts;
  return fits ? "" : "more than 1024 experts";
}

void run_permute(const DeviceCall& call) {
  const auto experts = static_cast<int>(call.call().inputs.at("experts").values<std::int64_t>()[0]);
  permute(call.input<const std::uint16_t>("x"), call.input<const std::int64_t>("topk_idx"),
          {call.size("x", 0), call.size("x", 1), experts, call.size("topk_idx", 1)}, call.output<std::uint16_t>("rows"),
          call.output<std::int64_t>("offsets"), call.output<std::int64_t>("row_of_slot"), call.version());
}

std::string refuse_unpermute(const check::KernelCall& call) {
  return call.inputs.at("row_of_slot").dim(1) <= kMostTopK ? "" : "more than 32 experts a token";
}

void run_unpermute(const DeviceCall& call) {
  unpermute(call.input<const std::uint16_t>("rows"), call.input<const std::int64_t>("row_of_slot"),
            call.input<const float>("weights"),
            {call.size("row_of_slot", 0), call.size("rows", 1), 0, call.size("row_of_slot", 1)},
            call.call().settings.flag("fma"), call.output<std::uint16_t>("y"), call.version());
}

}  // namespace

std::vector<ContractKernel> routing_kernels() {
  return {{"router", "route", kPortable, refuse_route, prepare<run_route>},
          {"permute", "permute", kPortable, refuse_permute, prepare<run_permute>},
          {"unpermute", "unpermute", kPortable, refuse_unpermute, prepare<run_unpermute>}};
}

}  // namespace lastbit::kernels
