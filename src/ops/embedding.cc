#include "ops/embedding.h"

#include <algorithm>

#include "core/error.h"
#include "ops/matrix.h"

namespace lastbit::ops {

tensor::Tensor embedding(const tensor::Tensor& ids, const tensor::Tensor& table) {
  const ConstMatrix rows = as_matrix(table);
  tensor::Shape shape = ids.shape();
  shape.push_back(rows.columns);
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, shape);
  float* target = result.mutable_values<float>().data();
  for (const std::int64_t id : ids.values<std::int64_t>()) {
    core::check(id >= 0 && id < rows.rows, "an id lies within the vocabulary");
    target = std::copy_n(rows.row(id), rows.columns, target);
  }
  return result;
}

}  // namespace lastbit::ops
