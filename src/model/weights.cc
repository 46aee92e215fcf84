#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <utility>
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

Tensor to_f64(const Tensor& values) {
  if (values.dtype() == DType::kF64) return values.clone();
  const auto from = values.values<float>();
  Tensor result = Tensor::empty(DType::kF64, values.shape());
  std::copy(from.begin(), from.end(), result.mutable_values<double>().begin());
  return result;
}

}  // namespace

// Reads and checks the tensors of a checkpoint.
class WeightLoader {
 public:
  WeightLoader(const std::string& directory, ModelConfig config, const WeightOptions& options)
      : files_(io::WeightDirectory::open(directory)), config_(std::move(config)), options_(options) {}

  // The tensor in FP32 or FP64.
  Tensor load(const WeightSpec& spec) {
    const Tensor stored = checked(spec);
    Tensor values = stored.dtype() == DType::kE4M3 ? dequantise(spec, stored) : tensor::to_f32(stored);
    check_finite(spec.name, values);
    if (options_.dtype == DType::kF64) return to_f64(stored.dtype() == DType::kF64 ? stored.contiguous() : values);
    return options_.own && stored.dtype() == DType::kF32 ? values.clone() : values;
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

  // Checks the MTP modules; whether all of them are there.
  bool check_mtp(const std::vector<WeightSpec>& specs) {
    std::int64_t modules = 0;
    for (std::int64_t k = 0; k < config_.num_nextn_predict_layers; ++k) {
      const std::int64_t layer = config_.num_hidden_layers + k;
      const auto of_layer = [&](const WeightSpec& spec) { return spec.layer == layer; };
      const bool present = std::any_of(specs.begin(), specs.end(),
                                       [&](const WeightSpec& spec) { return of_layer(spec) && has(spec.name); });
      if (!present) continue;  // saved without its MTP module, as transformers does
      ++modules;
      for (const WeightSpec& spec : specs)
        if (of_layer(spec) && (spec.copy_of.empty() || has(spec.name))) static_cast<void>(checked(spec));
    }
    return modules > 0 && modules == config_.num_nextn_predict_layers;
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
  ModelConfig config_;
  WeightOptions options_;
  std::set<std::string> known_;
};

namespace {

// What is kept of `specs`: not the copies.
std::vector<WeightSpec> originals(std::vector<WeightSpec> specs) {
  std::erase_if(specs, [](const WeightSpec& spec) { return !spec.copy_of.empty(); });
  return specs;
}

}  // namespace

// The files of a checkpoint that is read layer by layer.
class Weights::Source {
 public:
  Source(WeightLoader loader, std::vector<WeightSpec> specs) : loader_(std::move(loader)), specs_(std::move(specs)) {}

  // Reads the tensors of `layer` (-1: outside the layers) into `tensors`; returns their names.
  std::vector<std::string> read(std::int64_t layer, tensor::NamedTensors& tensors) {
    std::vector<std::string> names;
    for (const WeightSpec& spec : specs_) {
      if (spec.layer != layer) continue;
      tensors[spec.name] = loader_.load(spec);
      names.push_back(spec.name);
    }
    return names;
  }

 private:
  WeightLoader loader_;
  std::vector<WeightSpec> specs_;
};

Weights Weights::load(const std::string& directory, const ModelConfig& config, const WeightOptions& options) {
  WeightLoader loader(directory, config, options);
  std::vector<WeightSpec> specs = main_weights(config);
  for (const WeightSpec& spec : specs) static_cast<void>(loader.checked(spec));
  Weights weights;
  weights.has_mtp_ = loader.check_mtp(mtp_weights(config));
  loader.check_nothing_unexpected();
  if (weights.has_mtp_) std::ranges::copy(originals(mtp_weights(config)), std::back_inserter(specs));
  if (options.stream) {
    weights.source_ = std::make_shared<Source>(std::move(loader), std::move(specs));
    static_cast<void>(weights.source_->read(-1, weights.tensors_));
    return weights;
  }
  for (const WeightSpec& spec : specs) weights.tensors_[spec.name] = loader.load(spec);
  return weights;
}

Weights Weights::from(tensor::NamedTensors tensors, bool mtp) {
  Weights weights;
  weights.tensors_ = std::move(tensors);
  weights.has_mtp_ = mtp;
  return weights;
}

const Tensor& Weights::get(const std::string& name) const {
  const Tensor* tensor = find(name);
  core::check(tensor != nullptr, "a weight that the configuration names");
  return *tensor;
}

const Tensor* Weights::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Tensor& Weights::of(const std::string& name) {
  const auto found = tensors_.find(name);
  core::check(found != tensors_.end(), "a weight that the configuration names");
  return found->second;
}

Weights::LayerHold::LayerHold(const Weights& weights, std::int64_t layer) : weights_(weights) {
  if (weights.source_) names_ = weights.source_->read(layer, weights.tensors_);
}

Weights::LayerHold::~LayerHold() {
  for (const std::string& name : names_) weights_.tensors_.erase(name);
}

}  // namespace lastbit::model
