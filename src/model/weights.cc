#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/suggest.h"
#include "io/weights.h"
#include "model/weight_specs.h"
#include "tensor/cast.h"

namespace lastbit::model {
namespace {

using tensor::DType;
using tensor::Tensor;

const std::string kScaleSuffix = "_scale_inv";

class Loader {
 public:
  Loader(const std::string& directory, const ModelConfig& config)
      : files_(io::WeightDirectory::open(directory)), config_(config) {}

  // The tensor in FP32.
  Tensor load(const WeightSpec& spec) {
    const Tensor stored = checked(spec);
    Tensor values = stored.dtype() == DType::kE4M3 ? dequantise(spec, stored) : tensor::to_f32(stored);
    check_finite(spec.name, values);
    return values;
  }

  // Checks name, shape and type, and remembers that the name is known.
  Tensor checked(const WeightSpec& spec) {
    known_.insert(spec.name);
    if (!files_.contains(spec.name))
      core::fail_input("{}: tensor '{}' is missing, expected shape {}{}", files_.directory(), spec.name,
                       tensor::to_string(spec.shape), core::suggestion(spec.name, files_.names()));
    Tensor stored = files_.tensor(spec.name);
    if (stored.shape() != spec.shape)
      core::fail_input("{}: tensor '{}': found shape {}, expected {} from config.json", files_.directory(), spec.name,
                       tensor::to_string(stored.shape()), tensor::to_string(spec.shape));
    const DType dtype = stored.dtype();
    const bool plain = dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF64;
    const bool fp8 = dtype == DType::kE4M3 && spec.kind == WeightKind::kMatrix;
    if (!plain && !fp8)
      core::fail_input("{}: tensor '{}': found type {}, expected f32, bf16, f16 or f64{}", files_.directory(),
                       spec.name, name(dtype), spec.kind == WeightKind::kMatrix ? " or e4m3 with block scales" : "");
    if (fp8) static_cast<void>(block_scales(spec));
    return stored;
  }

  [[nodiscard]] bool has(const std::string& name) const { return files_.contains(name); }

  void check_mtp(const std::vector<WeightSpec>& specs) {
    for (std::int64_t k = 0; k < config_.num_nextn_predict_layers; ++k) {
      const std::int64_t layer = config_.num_hidden_layers + k;
      const auto of_layer = [&](const WeightSpec& spec) { return spec.layer == layer; };
      const bool present = std::any_of(specs.begin(), specs.end(),
                                       [&](const WeightSpec& spec) { return of_layer(spec) && has(spec.name); });
      if (!present) continue;  // saved without its MTP module, as transformers does
      for (const WeightSpec& spec : specs)
        if (of_layer(spec) && (spec.copy_of.empty() || has(spec.name))) static_cast<void>(checked(spec));
    }
  }

  void check_nothing_unexpected() const {
    constexpr std::string_view kIgnoredSuffix = ".rotary_emb.inv_freq";  // a buffer that old files carry
    for (const std::string& name : files_.names()) {
      if (known_.contains(name) || name.ends_with(kIgnoredSuffix)) continue;
      if (config_.tie_word_embeddings && name == "lm_head.weight") continue;  // a copy of the embedding
      const std::vector<std::string> candidates(known_.begin(), known_.end());
      core::fail_input("{}: tensor '{}' with shape {} is not expected by config.json{}", files_.directory(), name,
                       tensor::to_string(files_.tensor(name).shape()), core::suggestion(name, candidates));
    }
  }

 private:
  // The FP32 scales [ceil(rows / block rows), ceil(columns / block columns)] of an E4M3 weight.
  Tensor block_scales(const WeightSpec& spec) {
    if (!config_.quantization_config)
      core::fail_input("{}: tensor '{}': found type e4m3, but config.json has no quantization_config",
                       files_.directory(), spec.name);
    const auto [block_rows, block_columns] = config_.quantization_config->weight_block_size;
    WeightSpec scale = spec;
    scale.name += kScaleSuffix;
    scale.kind = WeightKind::kBias;  // never FP8 itself
    scale.shape = {(spec.shape[0] + block_rows - 1) / block_rows, (spec.shape[1] + block_columns - 1) / block_columns};
    return checked(scale);
  }

  Tensor dequantise(const WeightSpec& spec, const Tensor& codes) {
    const Tensor scales = tensor::to_f32(block_scales(spec));
    check_finite(spec.name + kScaleSuffix, scales);
    const auto [block_rows, block_columns] = config_.quantization_config->weight_block_size;
    Tensor values = tensor::to_f32(codes);
    const auto scale = scales.values<float>();
    const auto weight = values.mutable_values<float>();
    const std::int64_t columns = spec.shape[1];
    for (std::int64_t row = 0; row < spec.shape[0]; ++row)
      for (std::int64_t column = 0; column < columns; ++column)
        weight[static_cast<std::size_t>(row * columns + column)] *=
            scale[static_cast<std::size_t>(row / block_rows * scales.dim(1) + column / block_columns)];
    return values;
  }

  void check_finite(const std::string& name, const Tensor& values) const {
    const auto elements = values.values<float>();
    std::atomic<bool> finite{true};
    core::parallel_for(values.size(), 1 << 20, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
        if (!std::isfinite(elements[i])) finite = false;
    });
    if (finite) return;
    const auto bad = std::find_if(elements.begin(), elements.end(), [](float x) { return !std::isfinite(x); });
    core::fail_input("{}: tensor '{}': element {} is {}, expected finite weights", files_.directory(), name,
                     bad - elements.begin(), *bad);
  }

  io::WeightDirectory files_;
  const ModelConfig& config_;
  std::set<std::string> known_;
};

}  // namespace

Weights Weights::load(const std::string& directory, const ModelConfig& config) {
  Loader loader(directory, config);
  Weights weights;
  for (const WeightSpec& spec : main_weights(config)) weights.tensors_[spec.name] = loader.load(spec);
  loader.check_mtp(mtp_weights(config));
  loader.check_nothing_unexpected();
  return weights;
}

const Tensor& Weights::get(const std::string& name) const {
  const Tensor* tensor = find(name);
  core::check(tensor != nullptr, "a weight of the main model is asked for by its name");
  return *tensor;
}

const Tensor* Weights::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace lastbit::model
