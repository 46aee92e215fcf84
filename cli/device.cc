#include "cli/device.h"

#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "kernels/device/availability.h"
#include "kernels/device/decoder.h"
#include "kernels/device/trainer_device.h"
#if defined(LASTBIT_GPU)
#include "kernels/cuda/gpu_place.h"
#endif

namespace lastbit::cli {

void add_device(CLI::App& command, std::string& device) {
  command
      .add_option("--device", device,
                  "cpu: the reference; cuda: a GPU, or the CPU where there is none; simt: the GPU's kernels on the "
                  "executor, which is slow")
      ->check(CLI::IsMember({"cpu", "cuda", "simt"}))
      ->capture_default_str();
}

#if defined(LASTBIT_EXECUTOR) || defined(LASTBIT_GPU)

namespace {

device::Memory memory_of(const std::string& device) {
  return device == "simt" ? device::Memory::kBlocks : device::Memory::kOneBlock;
}

}  // namespace

std::string usable_device(const std::string& device) {
  if (device == "simt" && !device::on_executor())
    core::fail_unsupported(
        "--device simt: this build's kernels are a GPU's, expected one whose kernels run on the executor");
  if (device != "cuda") return device;
  const std::optional<std::string> reason = device::why_no_gpu();
  if (!reason) return device;
  core::log_warning("--device cuda: no GPU: {}; running on the CPU", *reason);
  return "cpu";
}

device::RunResult run_on_device(const std::string& device, const model::Transformer& model,
                                const device::RunRequest& request) {
  return device::run(model.config(), model.weights(), request, memory_of(device));
}

std::vector<model::MemoryPart> device_plan(const model::ModelConfig& config, const device::RunRequest& request) {
  return device::plan(config, request);
}

train::MakeStepDevice step_device(const std::string& device) {
  return [memory = memory_of(device)](const train::DevicePlan& plan) { return device::make_step_device(plan, memory); };
}

std::string recipe_device(const std::string& device) {
#if defined(LASTBIT_GPU)
  return device + " " + cuda::architecture();
#else
  return device;
#endif
}

infer::Decode device_decoder(const std::string& device, const model::Transformer& model, std::int64_t capacity) {
  return device::make_decoder(model.config(), model.weights(), model.numerics(), memory_of(device), capacity);
}

#else

namespace {

[[noreturn]] void fail_without_kernels() { core::fail_unsupported("--device: this build has no kernels"); }

}  // namespace

std::string usable_device(const std::string& device) {
  if (device == "simt") fail_without_kernels();
  if (device == "cuda") core::log_warning("--device cuda: no GPU: this build has no kernels; running on the CPU");
  return "cpu";
}

device::RunResult run_on_device(const std::string& /*device*/, const model::Transformer& /*model*/,
                                const device::RunRequest& /*request*/) {
  fail_without_kernels();
}

std::vector<model::MemoryPart> device_plan(const model::ModelConfig& /*config*/,
                                           const device::RunRequest& /*request*/) {
  fail_without_kernels();
}

train::MakeStepDevice step_device(const std::string& /*device*/) { fail_without_kernels(); }

std::string recipe_device(const std::string& /*device*/) { fail_without_kernels(); }

infer::Decode device_decoder(const std::string& /*device*/, const model::Transformer& /*model*/,
                             std::int64_t /*capacity*/) {
  fail_without_kernels();
}

#endif

}  // namespace lastbit::cli
