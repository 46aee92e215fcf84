#include "ops/linear.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/reduce.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

constexpr std::int64_t kOutBlock = 32;          // outputs a tile: their weights stay in the cache over the rows
constexpr std::int64_t kRowBlock = 16;          // rows a tile
constexpr std::int64_t kGrainProducts = 65536;  // multiply-adds a task at least

}  // namespace

tensor::Tensor linear(const tensor::Tensor& x, const tensor::Tensor& weight, const Numerics& numerics,
                      const tensor::Tensor* bias) {
  core::check(numerics.policy == Policy::kFp32, "linear follows fp32");
  const ConstMatrix in = as_matrix(x);
  const ConstMatrix w = as_matrix(weight);
  core::check(weight.rank() == 2 && in.columns == w.columns, "linear: x [..., in] and weight [out, in]");
  core::check(bias == nullptr || bias->size() == w.rows, "linear: bias [out]");
  const float* offset = bias == nullptr ? nullptr : bias->values<float>().data();
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, with_last_axis(x, w.rows));
  float* out = result.mutable_values<float>().data();

  const std::int64_t row_tiles = (in.rows + kRowBlock - 1) / kRowBlock;
  const std::int64_t out_tiles = (w.rows + kOutBlock - 1) / kOutBlock;
  const std::int64_t products_a_tile = std::max<std::int64_t>(kRowBlock * kOutBlock * in.columns, 1);
  const std::int64_t grain = std::max<std::int64_t>(kGrainProducts / products_a_tile, 1);
  core::parallel_for(row_tiles * out_tiles, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t first_row = tile % row_tiles * kRowBlock;
      const std::int64_t first_out = tile / row_tiles * kOutBlock;
      const std::int64_t last_row = std::min(first_row + kRowBlock, in.rows);
      const std::int64_t last_out = std::min(first_out + kOutBlock, w.rows);
      for (std::int64_t r = first_row; r < last_row; ++r) {
        for (std::int64_t o = first_out; o < last_out; ++o) {
          const float product = numerics::dot(in.row(r), w.row(o), in.columns);
          out[r * w.rows + o] = offset == nullptr ? product : product + offset[o];
        }
      }
    }
  });
  return result;
}

}  // namespace lastbit::ops
