#include "model/gradients.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"

namespace lastbit::model {

Gradients::Gradients(const std::vector<WeightSpec>& weights, tensor::DType dtype) {
  for (const WeightSpec& spec : weights)
    if (spec.copy_of.empty() && !spec.role.ends_with("e_score_correction_bias"))
      tensors_[spec.name] = tensor::Tensor::zeros(dtype, spec.shape);
}

tensor::Tensor& Gradients::of(const std::string& name) {
  const auto found = tensors_.find(name);
  core::check(found != tensors_.end(), "a weight with a gradient");
  return found->second;
}

void Gradients::clear() {
  std::vector<tensor::Tensor*> all;
  all.reserve(tensors_.size());
  for (auto& [name, tensor] : tensors_) all.push_back(&tensor);
  core::parallel_for(static_cast<std::int64_t>(all.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto bytes = all[static_cast<std::size_t>(i)]->mutable_bytes();
      std::fill(bytes.begin(), bytes.end(), std::byte{0});
    }
  });
}

}  // namespace lastbit::model
