// A layer's weights with the arithmetic they are used under: linear layers and norms, forward and backward.
#pragma once

#include <string>
#include <vector>

#include "model/pass_context.h"
#include "ops/linear.h"

namespace lastbit::model {

// The linear layer `name` (without ".weight"); its bias is used where the checkpoint has one. Results are settled.
class Projection {
 public:
  Projection(const PassContext& context, std::string name, const ops::LinearNumerics& numerics);

  // What the layer reads, made once for all layers of the same kind that share x.
  [[nodiscard]] ops::LinearInput input(tensor::Tensor x) const;
  [[nodiscard]] tensor::Tensor forward(const ops::LinearInput& x);
  // Adds to the gradients of weight and bias; returns dx.
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const ops::LinearInput& x);

 private:
  const PassContext& context_;
  std::string name_;
  const ops::LinearNumerics& numerics_;
  ops::CodedWeights coded_;  // from forward to backward
};

// One projection of all routed experts of a layer: "PREFIX.E.ROLE".
class ExpertProjection {
 public:
  ExpertProjection(const PassContext& context, const std::string& prefix, const std::string& role,
                   const ops::LinearNumerics& numerics);

  [[nodiscard]] ops::LinearInput input(tensor::Tensor rows, const ops::GroupOffsets& offsets) const;
  [[nodiscard]] tensor::Tensor forward(const ops::LinearInput& rows);
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const ops::LinearInput& rows);

 private:
  const PassContext& context_;
  ops::LinearSite site_;
  const ops::LinearNumerics& numerics_;
  std::vector<std::string> names_;
  std::vector<tensor::Tensor> weights_;
  ops::CodedWeights coded_;  // from forward to backward
};

// RMSNorm with the gain `name`. Results are settled.
class Norm {
 public:
  Norm(const PassContext& context, std::string name, double eps)
      : context_(context), name_(std::move(name)), eps_(eps) {}

  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x) const;
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) const;

 private:
  const PassContext& context_;
  std::string name_;
  double eps_;
};

// x [B, S, d] as rows, the same bytes.
[[nodiscard]] inline tensor::Tensor token_rows(const tensor::Tensor& x) {
  return x.reshape({x.dim(0) * x.dim(1), x.dim(2)});
}

// a + b, settled.
[[nodiscard]] tensor::Tensor add_settled(const tensor::Tensor& a, const tensor::Tensor& b, const PassContext& context);

}  // namespace lastbit::model
