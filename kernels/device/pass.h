// What the layers of one pass on the device share, and the products with weights.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/parameters.h"
#include "kernels/device/runtime.h"
#include "model/config.h"
#include "model/token_layout.h"

namespace lastbit::device {

// Keys of earlier tokens, for decoding one sequence: latents [layer][capacity, rank] after their norm, and turned keys
// [layer][capacity, rope].
struct LatentCache {
  std::int64_t capacity = 0;
  std::int64_t tokens = 0;  // that it holds, the same in every layer
  Array latents;
  Array rope_keys;
};

// Where tokens stand: ids [batch * tokens], cosines and sines [batch * tokens, rope / 2]; and for losses the targets
// [batch * tokens] (ops::kNoTarget: none).
struct Place {
  std::int64_t batch = 0;
  std::int64_t tokens = 0;
  Array ids;
  Array cosines;
  Array sines;
  Array targets = {};
  std::int64_t target_count = 0;

  [[nodiscard]] std::int64_t rows() const { return batch * tokens; }
};

// Copies of arrays that somebody asked for by name; each one waits for the device.
class PassTaps {
 public:
  explicit PassTaps(std::vector<std::string> names) : names_(names.begin(), names.end()) {}

  [[nodiscard]] bool wants(const std::string& name) const { return names_.contains(name); }
  // FP32 where `array` holds BF16 codes.
  void record(Runtime& runtime, const std::string& name, const Array& array, tensor::Shape shape);
  void record(const std::string& name, tensor::Tensor tensor) { taps_[name] = std::move(tensor); }
  [[nodiscard]] tensor::NamedTensors take() { return std::move(taps_); }

 private:
  std::set<std::string> names_;
  tensor::NamedTensors taps_;
};

struct Pass {
  const model::ModelConfig& config;
  Runtime& runtime;
  Parameters& parameters;
  Element element;  // of activations and their gradients
  Place place;
  bool keep = false;  // what backward() needs
  LatentCache* cache = nullptr;
  Array non_finite = {};  // [1]: counts router logits that are not finite, which are taken as 0
  Array loads = {};       // [MoE layers, experts]: gets the tokens of each expert added; or empty
  PassTaps* taps = nullptr;

  [[nodiscard]] Array room(const std::string& name, std::int64_t rows, std::int64_t cols) const {
    return runtime.allocate(name, element, rows * cols);
  }
  void tap(const std::string& name, const Array& array, const tensor::Shape& shape) const {
    if (taps != nullptr && taps->wants(name)) taps->record(runtime, name, array, shape);
  }
};

// The place of a layout, its tables worked out and sent. ids [B, S] i64. Errors: as require_length().
[[nodiscard]] Place place_tokens(const model::ModelConfig& config, const model::TokenLayout& layout,
                                 const tensor::Tensor& ids, Runtime& runtime);
// Sends targets [B, S] i64 for the place.
void place_targets(Place& place, const tensor::Tensor& targets, Runtime& runtime);

// y [rows, out] = x [rows, in] W^T. Products take FP8 or BF16 codes where the weight has them, else its FP32
// values.
void linear(const Pass& pass, const Array& x, std::int64_t rows, const std::string& weight, const Array& y);
// W's gradient += dy^T x; dx = dy W, added to what dx holds where `add`.
void linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const std::string& weight,
                     const Array& dx, bool add = false);

// The same by expert: rows offsets[e] ... offsets[e + 1] (offsets on the device) meet expert e's weight.
void expert_linear(const Pass& pass, const Array& x, std::int64_t rows, const Array& offsets, const std::string& weight,
                   const Array& y);
void expert_linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const Array& offsets,
                            const std::string& weight, const Array& dx, bool add = false);

// RMSNorm of rows of x, `x_stride` apart, whose width is the gain's.
void norm(const Pass& pass, const Array& x, std::int64_t rows, std::int64_t x_stride, const std::string& gain,
          double eps, const Array& y, std::int64_t y_stride);
// dx, rows `x_stride` apart, of dy, rows beside each other; the gain's gradient is added to.
void norm_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, std::int64_t x_stride,
                   const std::string& gain, double eps, const Array& dx);

// The embedding's gradient at the place's ids += dy [rows, d].
void embedding_gradient(const Pass& pass, const Array& dy);

// y = a + b, elements of all.
void add(const Pass& pass, const Array& a, const Array& b, const Array& y);

}  // namespace lastbit::device
