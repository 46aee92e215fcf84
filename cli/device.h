// --device of run, train and generate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command.h"
#include "infer/generate.h"
#include "kernels/device/run_request.h"
#include "model/transformer.h"
#include "train/step_device.h"

namespace lastbit::cli {

void add_device(CLI::App& command, std::string& device);

// Where a command runs that was given --device: "cuda" without a GPU is "cpu", which a line on stderr says. Errors:
// kUnsupported for "simt" in a build without kernels.
[[nodiscard]] std::string usable_device(const std::string& device);

// The rest is for other devices than "cpu". Errors beside those of kernels/device: kUnsupported in a build without
// kernels.
[[nodiscard]] device::RunResult run_on_device(const std::string& device, const model::Transformer& model,
                                              const device::RunRequest& request);
[[nodiscard]] std::vector<model::MemoryPart> device_plan(const model::ModelConfig& config,
                                                         const device::RunRequest& request);
[[nodiscard]] train::MakeStepDevice step_device(const std::string& device);
// For recipes, a run going on where its bits are the same: "simt", or "cuda sm_90" with the GPU's compute capability.
[[nodiscard]] std::string recipe_device(const std::string& device);
// Decodes one sequence of at most `capacity` tokens.
[[nodiscard]] infer::Decode device_decoder(const std::string& device, const model::Transformer& model,
                                           std::int64_t capacity);

}  // namespace lastbit::cli
