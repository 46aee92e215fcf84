#include "ops/embedding.h"

#include <algorithm>
#include <span>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::int64_t kTokens = 64;   // tokens a task
constexpr std::int64_t kColumns = 64;  // columns a task of the backward pass: some cache lines of every row

std::span<const std::int64_t> checked_ids(const Tensor& ids, std::int64_t vocabulary) {
  const auto values = ids.values<std::int64_t>();
  core::check(std::ranges::all_of(values, [&](std::int64_t id) { return id >= 0 && id < vocabulary; }),
              "embedding: every id lies within the table's vocabulary");
  return values;
}

template <typename T>
Tensor forward(const Tensor& ids, const Tensor& table) {
  const Matrix<T> rows = as_matrix<T>(table);
  const auto id = checked_ids(ids, table.dim(0));
  tensor::Shape shape = ids.shape();
  shape.push_back(rows.columns);
  Tensor result = Tensor::empty(table.dtype(), shape);
  T* out = result.mutable_values<T>().data();
  core::parallel_for(ids.size(), kTokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      std::copy_n(rows.row(id[static_cast<std::size_t>(t)]), rows.columns, out + t * rows.columns);
  });
  return result;
}

template <typename T>
void backward(const Tensor& dy, const Tensor& ids, Tensor& dtable) {
  const auto id = checked_ids(ids, dtable.dim(0));
  const std::int64_t columns = dtable.dim(1);
  const T* up = dy.values<T>().data();
  T* out = dtable.mutable_values<T>().data();
  core::parallel_for(columns, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = 0; t < ids.size(); ++t) {
      const T* source = up + t * columns;
      T* target = out + id[static_cast<std::size_t>(t)] * columns;
      for (std::int64_t i = begin; i < end; ++i) target[i] += source[i];
    }
  });
}

}  // namespace

Tensor embedding(const Tensor& ids, const Tensor& table) {
  core::check(table.rank() == 2, "embedding: table [vocabulary, d]");
  return with_element_type(table.dtype(), "embedding: table is FP32 or FP64",
                           [&](auto zero) { return forward<decltype(zero)>(ids, table); });
}

void embedding_backward(const Tensor& dy, const Tensor& ids, Tensor& dtable) {
  core::check(dtable.rank() == 2, "embedding_backward: dtable [vocabulary, d]");
  tensor::Shape expected = ids.shape();
  expected.push_back(dtable.dim(1));
  core::check(dy.shape() == expected && dy.dtype() == dtable.dtype(),
              "embedding_backward: ids [...] and dy [..., d] of dtable's type");
  with_element_type(dtable.dtype(), "embedding_backward: dtable is FP32 or FP64",
                    [&](auto zero) { backward<decltype(zero)>(dy, ids, dtable); });
}

}  // namespace lastbit::ops
