#include "model/init.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "io/atomic_file.h"
#include "io/config_file.h"
#include "io/weights.h"
#include "model/config_file.h"
#include "numerics/normal.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

void check_memory(const std::vector<WeightSpec>& specs, const std::string& model) {
  double bytes = 0;
  for (const WeightSpec& spec : specs)
    bytes += static_cast<double>(tensor::element_count(spec.shape, spec.name)) * sizeof(float);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  if (bytes > memory)
    core::fail_unsupported("model '{}': its FP32 weights take {:.1f} GB, this machine has {:.1f} GB of memory", model,
                           bytes * 1e-9, memory * 1e-9);
}

}  // namespace

Tensor initial_weight(const WeightSpec& spec, const ModelConfig& config, std::uint64_t seed) {
  if (spec.kind == WeightKind::kBias) return Tensor::zeros(tensor::DType::kF32, spec.shape);
  Tensor values = Tensor::empty(tensor::DType::kF32, spec.shape);
  if (spec.kind == WeightKind::kNorm) {
    std::ranges::fill(values.mutable_values<float>(), 1.0F);
    return values;
  }
  const core::RandomStream stream(seed, "init." + spec.role, static_cast<std::uint32_t>(spec.layer + 1),
                                  static_cast<std::uint32_t>(spec.expert + 1));
  numerics::fill_normal(stream, config.initializer_range, values.mutable_values<float>());
  return values;
}

void init_checkpoint(const std::string& preset_or_path, std::uint64_t seed, const std::string& directory) {
  const std::string path = model_config_path(preset_or_path);
  const nlohmann::json object = io::load_config_file(path);
  const ModelConfig config = parse_model_config(object, path);
  std::vector<WeightSpec> specs = main_weights(config);
  std::ranges::copy(mtp_weights(config), std::back_inserter(specs));
  check_memory(specs, preset_or_path);
  tensor::NamedTensors tensors;
  for (const WeightSpec& spec : specs)
    tensors[spec.name] = spec.copy_of.empty() ? initial_weight(spec, config, seed) : tensors.at(spec.copy_of);
  io::save_weight_directory(directory, tensors);
  io::write_text_file((std::filesystem::path(directory) / "config.json").string(),
                      checkpoint_config(object, "float32").dump(1) + "\n");
}

}  // namespace lastbit::model
