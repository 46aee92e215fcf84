// A checkpoint's weights in FP32, checked against the configuration.
#pragma once

#include <map>
#include <string>

#include "model/config.h"
#include "tensor/tensor.h"

namespace lastbit::model {

class Weights {
 public:
  // Reads the main model of a Hugging Face directory: every tensor there, of the right shape and finite. BF16 and FP16
  // are widened; E4M3 weights are multiplied by their block's scale (`name` + "_scale_inv"). MTP modules are checked
  // (all of a module or nothing of it; its copies of embedding and head are optional) but not kept.
  // Errors: bad input naming the tensor, the shape or type found and the one expected; tensors that the configuration
  // does not know.
  [[nodiscard]] static Weights load(const std::string& directory, const ModelConfig& config);

  [[nodiscard]] const tensor::Tensor& get(const std::string& name) const;   // a missing name is an internal error
  [[nodiscard]] const tensor::Tensor* find(const std::string& name) const;  // null when missing

 private:
  std::map<std::string, tensor::Tensor> tensors_;
};

}  // namespace lastbit::model
