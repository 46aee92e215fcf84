#include "kernels/device/trainer_device.h"

#include "core/error.h"
#include "kernels/device/support.h"
#include "kernels/device/training_step.h"

namespace lastbit::device {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

// Where the pass of the most tokens and the step of the most micro-batches end.
std::size_t planned_bytes(const train::DevicePlan& plan, const ModelUse& use) {
  DeviceModel model(plan.config, use, Memory::kCounted, 0);
  const Tensor ids = Tensor::zeros(DType::kI64, {plan.micro_sequences, plan.sequence_tokens});
  const std::vector<train::TokenRows> batches(static_cast<std::size_t>(plan.most_micro_batches), {ids, {}});
  std::optional<model::MtpOptions> mtp;
  if (plan.mtp) mtp = model::MtpOptions{};
  static_cast<void>(run_passes(model, batches, mtp));
  train::StepUpdate update;
  update.bias_rate = 1;
  update_weights(model, update);
  static_cast<void>(model.forward(ids, {"loss"}));
  return model.runtime().peak_bytes();
}

class TrainerDevice : public train::StepDevice {
 public:
  TrainerDevice(const train::DevicePlan& plan, const ModelUse& use, Memory memory)
      : model_(plan.config, use, memory, planned_bytes(plan, use)) {}

  void put(const train::TrainState& state) override {
    Parameters& parameters = model_.parameters();
    parameters.upload(Parameters::Part::kValue, state.weights);
    parameters.upload(Parameters::Part::kFirst, state.first_moments);
    parameters.upload(Parameters::Part::kSecond, state.second_moments);
    parameters.refresh_codes();
  }

  void fetch(train::TrainState& state) override {
    copy_into(state.weights, Parameters::Part::kValue);
    copy_into(state.first_moments, Parameters::Part::kFirst);
    copy_into(state.second_moments, Parameters::Part::kSecond);
  }

  [[nodiscard]] train::StepPasses run_passes(std::span<const train::TokenRows> batches,
                                             const std::optional<model::MtpOptions>& mtp) override {
    return device::run_passes(model_, batches, mtp);
  }

  void update(const train::StepUpdate& update) override { update_weights(model_, update); }

  [[nodiscard]] double loss(const Tensor& ids) override {
    return static_cast<double>(model_.forward(ids, {"loss"}).at("loss").values<float>()[0]);
  }

 private:
  // The state's tensors share their bytes with others, so they stay where they are.
  void copy_into(NamedTensors& to, Parameters::Part part) const {
    const NamedTensors from = model_.parameters().download(part);
    for (auto& [name, tensor] : to) std::ranges::copy(from.at(name).bytes(), tensor.mutable_bytes().begin());
  }

  DeviceModel model_;
};

}  // namespace

std::unique_ptr<train::StepDevice> make_step_device(const train::DevicePlan& plan, Memory memory) {
  const ModelUse use = model_use(plan.numerics, plan.mtp, true, true);
  return std::make_unique<TrainerDevice>(plan, use, memory);
}

}  // namespace lastbit::device
