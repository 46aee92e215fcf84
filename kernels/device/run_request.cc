#include "kernels/device/run_request.h"

#include <fmt/format.h>

#include <optional>

#include "kernels/device/support.h"
#include "kernels/device/training_step.h"
#include "model/weight_specs.h"

namespace lastbit::device {
namespace {

ModelUse use_of(const RunRequest& request) {
  return model_use(request.numerics, !request.mtp.empty(), request.gradients, false);
}

bool of_mtp(const std::string& name, const model::ModelConfig& config) {
  for (std::int64_t depth = 0; depth < config.num_nextn_predict_layers; ++depth)
    if (name.starts_with(model::layer_prefix(config.num_hidden_layers + depth))) return true;
  return false;
}

double total_loss(const train::StepPasses& passes, const std::optional<model::MtpOptions>& mtp) {
  const train::MicroBatchLoss& losses = passes.losses.front();
  const double main = losses.main.nll / static_cast<double>(losses.main.targets);
  return mtp ? main + model::mtp_loss(losses.mtp, losses.main, *mtp) : main;
}

// Taps and gradients of a request, on whatever memory the model has.
RunResult run_request(DeviceModel& model, const RunRequest& request) {
  RunResult result;
  if (!request.taps.empty()) result.taps = model.forward(request.ids, request.taps);
  if (!request.gradients) return result;
  const std::vector<train::TokenRows> batch{{request.ids.contiguous(), {}}};
  const auto add_gradients = [&](const std::optional<model::MtpOptions>& mtp) {
    const std::string variant = mtp ? std::string(model::to_string(mtp->variant)) : "";
    result.losses.emplace_back(variant, total_loss(run_passes(model, batch, mtp), mtp));
    for (const auto& [name, gradient] : model.parameters().download(Parameters::Part::kGradient))
      if (mtp || !of_mtp(name, model.config()))
        result.gradients[(mtp ? fmt::format("grad_mtp.{}.", variant) : "grad.") + name] = gradient;
  };
  add_gradients(std::nullopt);
  for (const model::MtpOptions& mtp : request.mtp) add_gradients(mtp);
  return result;
}

}  // namespace

RunResult run(const model::ModelConfig& config, const model::Weights& weights, const RunRequest& request,
              Memory memory) {
  DeviceModel counted(config, use_of(request), Memory::kCounted, 0);
  static_cast<void>(run_request(counted, request));
  DeviceModel model(config, use_of(request), memory, counted.runtime().peak_bytes());
  model.upload(weights);
  return run_request(model, request);
}

std::vector<model::MemoryPart> plan(const model::ModelConfig& config, const RunRequest& request) {
  DeviceModel counted(config, use_of(request), Memory::kCounted, 0);
  static_cast<void>(run_request(counted, request));
  return counted.memory_parts();
}

}  // namespace lastbit::device
