#include "train/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace lastbit::train {
namespace {

using tensor::Tensor;

// The first element that is not finite.
std::optional<std::int64_t> first_bad(std::span<const float> values) {
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  return bad == values.end() ? std::nullopt : std::optional<std::int64_t>(bad - values.begin());
}

// "layer 3, ", from "hidden.layer3" or "model.layers.3.mlp...": "" for what is outside the layers.
std::string layer_of(const std::string& name) {
  for (const std::string marker : {".layer", "model.layers."}) {
    const std::size_t at = name.find(marker);
    if (at == std::string::npos) continue;
    const std::size_t begin = at + marker.size();
    const std::size_t end = std::min(name.find_first_not_of("0123456789", begin), name.size());
    if (end > begin) return fmt::format("layer {}, ", name.substr(begin, end - begin));
  }
  return "";
}

// The layer of a weight for sorting: the head before all, the embedding after all.
std::int64_t backward_place(const std::string& name) {
  constexpr std::int64_t kLast = 1 << 30;
  if (name == "lm_head.weight") return -kLast;
  if (!name.starts_with("model.layers.")) return name.starts_with("model.norm") ? 1 - kLast : kLast;
  return -std::stoll(name.substr(std::string("model.layers.").size()));
}

std::optional<std::string> bad_gradient(const model::Gradients& gradients) {
  std::vector<const std::string*> names;
  for (const auto& [name, tensor] : gradients.tensors()) names.push_back(&name);
  std::ranges::stable_sort(names, {}, [](const std::string* name) { return backward_place(*name); });
  for (const std::string* name : names) {
    const auto values = gradients.tensors().at(*name).values<float>();
    if (const std::optional<std::int64_t> bad = first_bad(values))
      return fmt::format("{}gradient of '{}': element {} is {}", layer_of(*name), *name, *bad,
                         values[static_cast<std::size_t>(*bad)]);
  }
  return std::nullopt;
}

}  // namespace

bool has_non_finite(const model::Gradients& gradients) {
  std::vector<std::span<const float>> all;
  for (const auto& [name, tensor] : gradients.tensors()) all.push_back(tensor.values<float>());
  std::atomic<bool> bad{false};
  core::parallel_for(std::ssize(all), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint32_t largest = 0;  // magnitudes compare as their bits do
      for (const float value : all[static_cast<std::size_t>(i)])
        largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU);
      if (largest >= 0x7F800000U) bad = true;
    }
  });
  return bad;
}

std::string find_divergence(const model::Transformer& model, const Tensor& ids, model::LossOptions options,
                            const model::Gradients& accumulated, const std::string& reason) {
  model::TapWatch watch;
  options.watch = &watch;
  model::Gradients fresh = model.zero_gradients();
  std::string message = reason;
  try {
    static_cast<void>(model.loss_and_gradients(ids, options, fresh));
  } catch (const core::Error& error) {
    message = error.what();
  }
  if (!watch.first_bad.empty())
    return fmt::format("{}tensor '{}': element {} is {}", layer_of(watch.first_bad), watch.first_bad, watch.element,
                       watch.value);
  if (message != reason || reason.starts_with("layer ")) return message;
  if (const std::optional<std::string> bad = bad_gradient(fresh)) return *bad;
  if (const std::optional<std::string> bad = bad_gradient(accumulated)) return *bad;
  return reason;
}

}  // namespace lastbit::train
