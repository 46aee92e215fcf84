// Linear layers, alone or one a group of rows as experts are, forward and backward, under any numerics.
//
//   fprop  y = x W^T (+ b)     x [..., in], W [out, in], y [..., out]
//   dgrad  dx = dy W
//   wgrad  dW += dy^T x        db += sum of dy over rows, ascending
//
// Without a tensor core each output is one chain of FMAs in the precision of the operands, F32 or F64, by the rule of
// numerics/matmul.h. With one, operands become codes as LinearNumerics says and each product runs through the tensor
// core's model; results are FP32, not yet rounded to what operators exchange (settle()). Either way an output depends
// on its own row and column alone where scales do: on neither the other rows nor the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ops/delayed_scales.h"
#include "ops/numerics.h"
#include "ops/shadow.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// Which layer this is, for messages, where its loss of exactness is written down (null: nowhere), and where delayed
// scales come from (null: there are none).
struct LinearSite {
  std::string name;  // "model.layers.3.mlp.down_proj"
  Shadow* shadow = nullptr;
  DelayedScales* scales = nullptr;
};

// Rows [offsets[g], offsets[g + 1]) belong to group g: as many weights as groups.
using GroupOffsets = std::vector<std::int64_t>;

// An operand as a tensor core takes it.
struct CodedOperand {
  std::shared_ptr<const numerics::Quantized> codes;  // format BF16: two bytes each, without scales
  bool transposed = false;                           // of the codes against the product's operand

  [[nodiscard]] numerics::CodeMatrix matrix() const;
  [[nodiscard]] CodedOperand turned() const { return {codes, !transposed}; }
};

// A layer's weights, by group, as fprop's tensor core took them, for products that take the same codes: those of the
// next rows, and dgrad's. Where dgrad's are others, by its tiles or because histories make their scales, nothing is
// kept.
using CodedWeights = std::vector<CodedOperand>;
// Whether anything is.
[[nodiscard]] bool keeps_weights(const LinearNumerics& numerics);

// What a layer reads: quantised once, used by every layer that shares it, and kept for wgrad in the form that the
// numerics name, which may be the codes alone.
class LinearInput {
 public:
  LinearInput() = default;
  // x [..., in], contiguous; one group of all rows when `offsets` is empty.
  // Errors: bad input when a value to be quantised is not finite; the site is in the message.
  LinearInput(tensor::Tensor x, const LinearNumerics& numerics, const LinearSite& site, GroupOffsets offsets = {});

  [[nodiscard]] bool empty() const { return shape_.empty(); }
  [[nodiscard]] const tensor::Shape& shape() const { return shape_; }
  [[nodiscard]] std::int64_t rows() const { return offsets_.back(); }
  [[nodiscard]] std::int64_t columns() const { return shape_.back(); }
  [[nodiscard]] const GroupOffsets& offsets() const { return offsets_; }
  // x as the backward pass has it: as given, or dequantised from the codes that stand for it.
  [[nodiscard]] tensor::Tensor values() const;
  // Drops the codes that only fprop reads.
  void end_fprop();
  [[nodiscard]] std::size_t bytes() const;  // that it keeps alive

 private:
  friend struct LinearInputAccess;

  tensor::Shape shape_;
  GroupOffsets offsets_;
  tensor::Tensor values_;            // as given; let go of when the codes stand for them and no shadow asks
  std::vector<CodedOperand> coded_;  // by group; empty without a tensor core
  std::vector<CodedOperand> e5m6_;   // by group
  bool codes_stand_ = false;         // for the values in the backward pass
};

// y [..., out]. bias: null or [out]. `coded`: unless null, read where it has codes and else filled. Errors: shapes that
// do not meet are internal errors.
[[nodiscard]] tensor::Tensor linear(const LinearInput& x, const tensor::Tensor& weight, const LinearNumerics& numerics,
                                    const LinearSite& site, const tensor::Tensor* bias = nullptr,
                                    CodedWeights* coded = nullptr);
// dy [..., out] -> dx [..., in]. `coded`: unless null or empty, the weight's codes.
[[nodiscard]] tensor::Tensor linear_dgrad(const tensor::Tensor& dy, const tensor::Tensor& weight,
                                          const LinearNumerics& numerics, const LinearSite& site,
                                          const CodedWeights* coded = nullptr);
// dweight [out, in] and, unless null, dbias [out] are added to.
void linear_wgrad(const tensor::Tensor& dy, const LinearInput& x, tensor::Tensor& dweight,
                  const LinearNumerics& numerics, const LinearSite& site, tensor::Tensor* dbias = nullptr);

// The same by groups: x's own offsets; one weight a group, all of one shape. A group may have no rows.
[[nodiscard]] tensor::Tensor grouped_linear(const LinearInput& x, std::span<const tensor::Tensor> weights,
                                            const LinearNumerics& numerics, const LinearSite& site,
                                            CodedWeights* coded = nullptr);
[[nodiscard]] tensor::Tensor grouped_linear_dgrad(const tensor::Tensor& dy, const GroupOffsets& offsets,
                                                  std::span<const tensor::Tensor> weights,
                                                  const LinearNumerics& numerics, const LinearSite& site,
                                                  const CodedWeights* coded = nullptr);
void grouped_linear_wgrad(const tensor::Tensor& dy, const LinearInput& x, std::span<tensor::Tensor> dweights,
                          const LinearNumerics& numerics, const LinearSite& site);

}  // namespace lastbit::ops
