// A checkpoint's weights in FP32 or FP64, checked against the configuration.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weight_specs.h"
#include "tensor/tensor.h"

namespace lastbit::model {

struct WeightOptions {
  tensor::DType dtype = tensor::DType::kF32;  // or kF64
  bool own = false;     // bytes of our own, so that they can be changed; otherwise FP32 tensors may be the file's
  bool stream = false;  // layers are read when they are held (hold_layer), and let go of afterwards
};

class Weights {
 public:
  // Reads a Hugging Face directory: every tensor of the main model, and the MTP modules if they are there (all of a
  // module or nothing of it; its copies of embedding and head are optional and not kept), of the right shape and
  // finite. BF16 and FP16 are widened; E4M3 weights are multiplied by their block's scale (`name` + "_scale_inv"):
  // exact products rounded to FP32. Under `stream` names, shapes and types are checked now, values when they are read.
  // Errors: bad input naming the tensor, the shape or type found and the one expected; tensors that the configuration
  // does not know.
  [[nodiscard]] static Weights load(const std::string& directory, const ModelConfig& config,
                                    const WeightOptions& options = {});
  // Weights made elsewhere: one of the right shape and type for every spec.
  [[nodiscard]] static Weights from(tensor::NamedTensors tensors, bool mtp);

  [[nodiscard]] const tensor::Tensor& get(const std::string& name) const;   // a missing name is an internal error
  [[nodiscard]] const tensor::Tensor* find(const std::string& name) const;  // null when missing
  // For an optimiser; loaded with `own`.
  [[nodiscard]] tensor::Tensor& of(const std::string& name);
  [[nodiscard]] bool has_mtp() const { return has_mtp_; }

  // While the hold lives, the weights of `layer` are there. Without streaming they always are. Not for two threads at
  // once. Errors: as load.
  class LayerHold {
   public:
    LayerHold(const Weights& weights, std::int64_t layer);
    ~LayerHold();
    LayerHold(const LayerHold&) = delete;
    LayerHold& operator=(const LayerHold&) = delete;

   private:
    const Weights& weights_;
    std::vector<std::string> names_;
  };
  [[nodiscard]] LayerHold hold_layer(std::int64_t layer) const { return {*this, layer}; }

 private:
  class Source;

  std::shared_ptr<Source> source_;  // null unless streaming
  mutable tensor::NamedTensors tensors_;
  bool has_mtp_ = false;
};

}  // namespace lastbit::model
