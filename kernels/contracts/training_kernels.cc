// Contracts of the loss and the optimiser.
#include <cmath>

#include "kernels/contracts/kernel_registry.h"
#include "kernels/training/training.h"
#include "numerics/elementary.h"

namespace lastbit::kernels {
namespace {

std::string takes_every(const check::KernelCall& /*call*/) { return {}; }

void run_cross_entropy(const DeviceCall& call) {
  cross_entropy({call.input<const void>("logits"), call.input<const std::int64_t>("targets"), call.output<float>("nll"),
                 call.output<float>("lse"), call.output<void>("dlogits"), call.setting("logits_type") == "bf16",
                 call.setting("gradient_type") == "bf16", call.size("logits", 0), call.size("logits", 1)},
                call.version());
}

void run_adamw(const DeviceCall& call) {
  const check::ContractSettings& settings = call.call().settings;
  const double beta1 = settings.number("beta1");
  const double beta2 = settings.number("beta2");
  const double rate = settings.number("learning_rate");
  const auto step = static_cast<double>(settings.whole("step"));
  // Computed in double and rounded once, as train/adamw.cc does.
  const AdamwFactors factors{static_cast<float>(1 - rate * settings.number("weight_decay")),
                             static_cast<float>(beta1),
                             static_cast<float>(1 - beta1),
                             static_cast<float>(beta2),
                             static_cast<float>(1 - beta2),
                             static_cast<float>(rate / (1 - numerics::pow(beta1, step))),
                             static_cast<float>(std::sqrt(1 - numerics::pow(beta2, step))),
                             static_cast<float>(settings.number("eps")),
                             settings.text("moment_use") == "update_from_rounded"};
  adamw({call.input<const float>("w"), call.input<const float>("grad"), call.input<const std::uint16_t>("m"),
         call.input<const std::uint16_t>("v"), call.output<float>("w"), call.output<std::uint16_t>("m"),
         call.output<std::uint16_t>("v"), call.size("w", 0)},
        factors, call.version());
}

}  // namespace

std::vector<ContractKernel> training_kernels() {
  return {{"cross_entropy", "cross_entropy", kPortable, takes_every, prepare<run_cross_entropy>},
          {"adamw", "adamw", kPortable, takes_every, prepare<run_adamw>}};
}

}  // namespace lastbit::kernels
