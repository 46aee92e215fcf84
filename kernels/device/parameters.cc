#include "kernels/device/parameters.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "kernels/device/fp8_products.h"
#include "kernels/plain/layers.h"
#include "model/weight_specs.h"

namespace lastbit::device {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

std::vector<model::WeightSpec> specs_of(const model::ModelConfig& config, bool mtp) {
  std::vector<model::WeightSpec> specs = model::main_weights(config);
  if (mtp) std::ranges::copy(model::mtp_weights(config), std::back_inserter(specs));
  std::erase_if(specs, [](const model::WeightSpec& spec) { return !spec.copy_of.empty(); });
  return specs;
}

// All experts' weights of a role have one.
std::string stacked_name(const model::WeightSpec& spec) {
  return spec.expert < 0 ? spec.name : model::layer_prefix(spec.layer) + spec.role;
}

// Products with the router's weights are FP32 under every policy, and the embedding is looked up, and multiplied only
// where it is the head's matrix, too.
bool multiplied_as_codes(const Parameter& parameter, const model::ModelConfig& config) {
  return parameter.shape.size() == 2 && !parameter.name.ends_with("mlp.gate.weight") &&
         (config.tie_word_embeddings || parameter.name != "model.embed_tokens.weight");
}

}  // namespace

Parameters::Parameters(const model::ModelConfig& config, const ParameterOptions& options, Runtime& runtime)
    : runtime_(runtime) {
  for (const model::WeightSpec& spec : specs_of(config, options.mtp)) {
    const auto [place, is_new] = places_.try_emplace(stacked_name(spec), all_.size());
    if (is_new) {
      const bool trained = !spec.role.ends_with("e_score_correction_bias");
      all_.push_back({place->first, {}, spec.shape, trained, {}, {}, {}, {}, {}, {}, {}});
    }
    all_[place->second].tensors.push_back(spec.name);
  }
  for (Parameter& parameter : all_) {
    const std::int64_t count = parameter.size() * std::ssize(parameter.tensors);
    const auto room = [&](Element element) { return runtime.allocate(parameter.name, element, count); };
    parameter.value = room(Element::kF32);
    if (options.fp8 && multiplied_in_fp8(parameter.name))
      allocate_fp8(parameter, runtime);
    else if (options.codes && multiplied_as_codes(parameter, config))
      parameter.codes = room(Element::kBF16);
    if (options.gradients && parameter.trained) parameter.gradient = room(Element::kF32);
    if (!options.moments || !parameter.trained) continue;
    parameter.first = room(Element::kBF16);
    parameter.second = room(Element::kBF16);
  }
}

const Parameter& Parameters::of(const std::string& name) const {
  const auto place = places_.find(name);
  core::check(place != places_.end(), "a weight that the device has");
  return all_[place->second];
}

std::vector<model::MemoryPart> Parameters::memory_parts() const {
  std::vector<model::MemoryPart> parts{
      {"weights, FP32", 0}, {"weights, BF16 and FP8 for products", 0}, {"gradients", 0}, {"moments", 0}};
  for (const Parameter& parameter : all_) {
    parts[0].bytes += static_cast<double>(room_of(parameter.value));
    parts[1].bytes +=
        static_cast<double>(room_of(parameter.codes) + room_of(parameter.fp8_codes) + room_of(parameter.fp8_scales));
    parts[2].bytes += static_cast<double>(room_of(parameter.gradient));
    parts[3].bytes += static_cast<double>(room_of(parameter.first) + room_of(parameter.second));
  }
  std::erase_if(parts, [](const model::MemoryPart& part) { return part.bytes == 0; });
  return parts;
}

const Array& Parameters::array_of(const Parameter& parameter, Part part) const {
  switch (part) {
    case Part::kValue:
      return parameter.value;
    case Part::kGradient:
      return parameter.gradient;
    case Part::kFirst:
      return parameter.first;
    case Part::kSecond:
      break;
  }
  return parameter.second;
}

void Parameters::upload(Part part, const NamedTensors& tensors) {
  for (const Parameter& parameter : all_) {
    const Array& array = array_of(parameter, part);
    if (array.count == 0) continue;
    for (std::size_t i = 0; i < parameter.tensors.size(); ++i) {
      const auto found = tensors.find(parameter.tensors[i]);
      core::check(found != tensors.end(), "a tensor for each weight of the device");
      runtime_.upload(array.part(static_cast<std::int64_t>(i) * parameter.size(), parameter.size()),
                      found->second.bytes());
    }
  }
}

void Parameters::upload(const model::Weights& weights) {
  NamedTensors tensors;
  for (const Parameter& parameter : all_)
    for (const std::string& name : parameter.tensors) tensors[name] = weights.get(name);
  upload(Part::kValue, tensors);
  refresh_codes();
}

void Parameters::refresh_codes() {
  for (const Parameter& parameter : all_) {
    if (parameter.fp8_codes.count > 0) quantize_fp8(parameter, runtime_);
    if (parameter.codes.count > 0)
      runtime_.run([&] {
        kernels::copy_values(parameter.value.values(), parameter.codes.values(),
                             static_cast<std::size_t>(parameter.value.count));
      });
  }
}

void Parameters::clear_gradients() {
  for (const Parameter& parameter : all_)
    if (parameter.gradient.count > 0)
      runtime_.run(
          [&] { kernels::fill_zero(parameter.gradient.f32(), static_cast<std::size_t>(parameter.gradient.count)); });
}

NamedTensors Parameters::download(Part part) const {
  NamedTensors tensors;
  for (const Parameter& parameter : all_) {
    const Array& array = array_of(parameter, part);
    if (array.count == 0) continue;
    for (std::size_t i = 0; i < parameter.tensors.size(); ++i) {
      Tensor tensor = Tensor::empty(array.element == Element::kBF16 ? DType::kBF16 : DType::kF32, parameter.shape);
      runtime_.download(array.part(static_cast<std::int64_t>(i) * parameter.size(), parameter.size()),
                        tensor.mutable_bytes());
      tensors[parameter.tensors[i]] = tensor;
    }
  }
  return tensors;
}

}  // namespace lastbit::device
