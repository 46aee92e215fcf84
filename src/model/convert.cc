#include "model/convert.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/config_file.h"
#include "io/weights.h"
#include "model/config_file.h"
#include "model/weight_specs.h"
#include "model/weights.h"
#include "numerics/gemm.h"
#include "numerics/parse.h"
#include "numerics/quantize.h"
#include "tensor/cast.h"

namespace lastbit::model {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

constexpr std::array<std::string_view, 3> kFormats = {"fp32", "bf16", "fp8"};
constexpr std::int64_t kBlock = 128;

bool is_fp8_matrix(const WeightSpec& spec) {
  return spec.kind == WeightKind::kMatrix && spec.role != "mlp.gate.weight" &&
         (spec.role.starts_with("self_attn.") || spec.role.starts_with("mlp."));
}

void add_fp8(const WeightSpec& spec, const Tensor& values, NamedTensors& tensors) {
  numerics::QuantizeRule rule;
  rule.tile = {kBlock, kBlock};
  const numerics::Quantized quantized =
      numerics::quantize({values.values<float>(), values.dim(0), values.dim(1)}, rule, spec.name);
  Tensor codes = Tensor::empty(DType::kE4M3, spec.shape);
  std::ranges::copy(quantized.codes, codes.mutable_bytes().begin());
  tensors[spec.name] = codes;
  const numerics::ScaleShape scales = numerics::scale_shape(quantized.matrix(), quantized.tile);
  tensors[spec.name + "_scale_inv"] = Tensor::from<float>({scales.rows, scales.columns}, quantized.scales);
}

void add(const WeightSpec& spec, const Tensor& values, WeightFormat format, NamedTensors& tensors) {
  const bool stays = spec.role == "mlp.gate.e_score_correction_bias";
  if (format == WeightFormat::kFp8 && is_fp8_matrix(spec))
    add_fp8(spec, values, tensors);
  else if (format == WeightFormat::kF32 || stays)
    tensors[spec.name] = values.clone();
  else
    tensors[spec.name] = tensor::cast(values, DType::kBF16);
}

std::string config_text(const nlohmann::json& from, WeightFormat format) {
  nlohmann::json object = checkpoint_config(from, format == WeightFormat::kF32 ? "float32" : "bfloat16");
  if (format == WeightFormat::kFp8)
    object["quantization_config"] = {{"activation_scheme", "dynamic"},
                                     {"fmt", "e4m3"},
                                     {"quant_method", "fp8"},
                                     {"weight_block_size", {kBlock, kBlock}}};
  return object.dump(1) + "\n";
}

void check_free(const std::string& directory) {
  std::error_code ignored;
  for (const char* file : {"config.json", "model.safetensors", "model.safetensors.index.json"})
    if (std::filesystem::exists(std::filesystem::path(directory) / file, ignored))
      core::fail_input("{}: found {} there, expected a folder without a checkpoint", directory, file);
}

}  // namespace

WeightFormat find_weight_format(const std::string& name) {
  return static_cast<WeightFormat>(numerics::require_name("weight format", name, {kFormats.begin(), kFormats.end()}));
}

void convert_checkpoint(const std::string& from, const std::string& to, WeightFormat format,
                        std::size_t max_shard_bytes) {
  check_free(to);
  const std::string config_path = (std::filesystem::path(from) / "config.json").string();
  const nlohmann::json object = io::load_config_file(config_path);
  const ModelConfig config = parse_model_config(object, config_path);
  const Weights weights = Weights::load(from, config, {.stream = true});
  std::vector<WeightSpec> specs = main_weights(config);
  if (weights.has_mtp()) std::ranges::copy(mtp_weights(config), std::back_inserter(specs));
  NamedTensors tensors;
  for (auto first = specs.begin(); first != specs.end();) {
    const std::int64_t layer = first->layer;
    const auto end = std::find_if(first, specs.end(), [&](const WeightSpec& spec) { return spec.layer != layer; });
    std::optional<Weights::LayerHold> hold;
    if (layer >= 0) hold.emplace(weights, layer);
    for (; first != end; ++first)
      add(*first, weights.get(first->copy_of.empty() ? first->name : first->copy_of), format, tensors);
  }
  io::save_weight_directory(to, tensors, max_shard_bytes);
  io::write_text_file((std::filesystem::path(to) / "config.json").string(), config_text(object, format));
}

}  // namespace lastbit::model
