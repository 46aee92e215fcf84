// The gradients of all weights, by the weights' names.
#pragma once

#include <string>
#include <vector>

#include "model/weight_specs.h"
#include "tensor/tensor.h"

namespace lastbit::model {

class Gradients {
 public:
  // Zeros of `dtype` in the shape of each weight, but for the routing bias, which no loss reaches, and for copies.
  Gradients(const std::vector<WeightSpec>& weights, tensor::DType dtype);

  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }
  // Added to by the backward pass; a missing name is an internal error.
  [[nodiscard]] tensor::Tensor& of(const std::string& name);
  [[nodiscard]] const tensor::NamedTensors& tensors() const { return tensors_; }
  void clear();  // zeros again

 private:
  tensor::NamedTensors tensors_;
};

}  // namespace lastbit::model
