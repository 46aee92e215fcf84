// Contracts of latent attention.
#include "kernels/attention/mla.h"
#include "kernels/contracts/kernel_registry.h"

namespace lastbit::kernels {
namespace {

std::string takes_prefill(const check::KernelCall& /*call*/) { return {}; }

// Of DeepSeek-V3: of a head's 192 elements 64 with position.
constexpr int kNopeDim = 128;
constexpr int kRopeDim = 64;
constexpr int kHeadDim = kNopeDim + kRopeDim;
constexpr int kHeadValues = 128;

void run_prefill(const DeviceCall& call) {
  const check::ContractSettings& settings = call.call().settings;
  const int heads = call.size("q", 1);
  const auto* const k = call.input<const std::uint16_t>("k");
  const MlaShape shape{1,
                       call.size("q", 0),
                       call.size("k", 0),
                       heads,
                       kNopeDim,
                       kRopeDim,
                       kHeadValues,
                       static_cast<float>(settings.number("scale")),
                       settings.flag("causal")};
  const MlaOperands in{{call.input<const std::uint16_t>("q"), heads * kHeadDim, kHeadDim},
                       {k, heads * kHeadDim, kHeadDim},
                       {k + kNopeDim, heads * kHeadDim, kHeadDim},
                       {call.input<const std::uint16_t>("v"), heads * kHeadValues, kHeadValues},
                       shape};
  mla_prefill({in, {call.output<std::uint16_t>("out"), heads * kHeadValues, kHeadValues}, call.output<float>("lse")},
              call.version());
}

std::string refuse_decode(const check::KernelCall& call) {
  return call.inputs.at("block_table").dim(1) * kPageKeys <= kMostDecodeKeys ? "" : "more than 32768 keys a sequence";
}

void run_decode(const DeviceCall& call) {
  mla_decode({call.input<const std::uint16_t>("q"), call.input<const std::uint16_t>("cache"),
              call.input<const std::int32_t>("block_table"), call.input<const std::int32_t>("seq_lens"),
              call.output<std::uint16_t>("out"), call.output<float>("lse"), call.size("q", 0), call.size("q", 1),
              call.size("block_table", 1), static_cast<float>(call.call().settings.number("scale"))},
             call.version());
}

}  // namespace

std::vector<ContractKernel> attention_kernels() {
  return {{"mla_prefill", "mla_prefill", kPortable, takes_prefill, prepare<run_prefill>},
          {"mla_decode", "mla_decode", kPortable, refuse_decode, prepare<run_decode>}};
}

}  // namespace lastbit::kernels
