// The weights of a model on the device, and beside them what training keeps of each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/device/runtime.h"
#include "model/config.h"
#include "model/memory_plan.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace lastbit::device {

// One weight, or those of all experts one after the other.
struct Parameter {
  std::string name;                  // the hub's; of experts "model.layers.3.mlp.experts.up_proj.weight"
  std::vector<std::string> tensors;  // the hub's names, by expert
  tensor::Shape shape;               // of one tensor
  bool trained = true;               // by gradients: not the routing bias
  Array value;                       // FP32
  Array codes;                       // BF16, of matrices where products take them
  Array fp8_codes;                   // E4M3, where products take those, each expert's by itself
  Array fp8_scales;                  // of 128 x 128 tiles
  Array gradient;                    // FP32, of trained ones
  Array first;                       // BF16 moments, likewise
  Array second;

  // Of one tensor, a vector being one row.
  [[nodiscard]] std::int64_t rows() const { return shape.size() == 2 ? shape.front() : 1; }
  [[nodiscard]] std::int64_t cols() const { return shape.back(); }
  [[nodiscard]] std::int64_t size() const { return rows() * cols(); }
};

struct ParameterOptions {
  bool mtp = false;    // the modules', too
  bool codes = false;  // BF16 copies of the matrices
  bool gradients = false;
  bool moments = false;
  bool fp8 = false;  // E4M3 codes of those matrices that fp8_products.h names, in place of BF16
};

class Parameters {
 public:
  Parameters(const model::ModelConfig& config, const ParameterOptions& options, Runtime& runtime);

  [[nodiscard]] const Parameter& of(const std::string& name) const;  // a missing name is an internal error
  [[nodiscard]] const std::vector<Parameter>& all() const { return all_; }

  // Bytes of the device by kind, as the runtime counts them.
  [[nodiscard]] std::vector<model::MemoryPart> memory_parts() const;

  // A checkpoint goes to the device, once.
  void upload(const model::Weights& weights);
  // BF16 and FP8 codes again from the values.
  void refresh_codes();
  void clear_gradients();

  enum class Part : std::uint8_t { kValue, kGradient, kFirst, kSecond };
  // By the hub's names, those that have the part: FP32, moments BF16.
  [[nodiscard]] tensor::NamedTensors download(Part part) const;
  void upload(Part part, const tensor::NamedTensors& tensors);

 private:
  [[nodiscard]] const Array& array_of(const Parameter& parameter, Part part) const;

  Runtime& runtime_;
  std::vector<Parameter> all_;
  std::map<std::string, std::size_t> places_;
};

}  // namespace lastbit::device
