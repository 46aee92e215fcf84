#include "kernels/device/pass.h"

#include <vector>

#include "kernels/plain/gemm.h"
#include "kernels/plain/layers.h"
#include "model/attention.h"
#include "ops/rope.h"
#include "tensor/cast.h"

namespace lastbit::device {
namespace {

using kernels::GroupedRows;
using kernels::MatrixView;
using kernels::PlainGemm;

// W as products take it.
const Array& operand(const Parameter& weight) { return weight.codes.count > 0 ? weight.codes : weight.value; }

MatrixView row_major(const Array& matrix, std::int64_t cols) { return {matrix.values(), cols, 1}; }
MatrixView transposed(const Array& matrix, std::int64_t cols) { return {matrix.values(), 1, cols}; }

int narrow(std::int64_t size) { return static_cast<int>(size); }

PlainGemm forward_product(const Array& x, std::int64_t rows, const Parameter& weight, const Array& y) {
  return {row_major(x, weight.cols()),
          transposed(operand(weight), weight.cols()),
          y.values(),
          weight.rows(),
          narrow(rows),
          narrow(weight.rows()),
          narrow(weight.cols()),
          false};
}
PlainGemm input_gradient(const Array& dy, std::int64_t rows, const Parameter& weight, const Array& dx, bool add) {
  return {row_major(dy, weight.rows()),
          row_major(operand(weight), weight.cols()),
          dx.values(),
          weight.cols(),
          narrow(rows),
          narrow(weight.cols()),
          narrow(weight.rows()),
          add};
}
PlainGemm weight_gradient(const Array& dy, const Array& x, std::int64_t rows, const Parameter& weight) {
  return {transposed(dy, weight.rows()),
          row_major(x, weight.cols()),
          weight.gradient.values(),
          weight.cols(),
          narrow(weight.rows()),
          narrow(weight.cols()),
          narrow(rows),
          true};
}

GroupedRows by_expert(const Array& offsets, const Parameter& weight) {
  return {offsets.i64(), narrow(std::ssize(weight.tensors)), weight.size()};
}

// Rows of a table [positions, width] at positions [count].
std::vector<float> rows_at(const tensor::Tensor& table, const tensor::Tensor& positions) {
  const auto width = static_cast<std::size_t>(table.dim(1));
  const auto values = table.values<float>();
  std::vector<float> rows;
  for (const std::int64_t position : positions.values<std::int64_t>()) {
    const auto row = values.subspan(static_cast<std::size_t>(position) * width, width);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

}  // namespace

void PassTaps::record(Runtime& runtime, const std::string& name, const Array& array, tensor::Shape shape) {
  using tensor::DType;
  DType dtype = DType::kF32;
  if (array.element == Element::kBF16) dtype = DType::kBF16;
  if (array.element == Element::kI64) dtype = DType::kI64;
  if (array.element == Element::kF64) dtype = DType::kF64;
  tensor::Tensor tensor = tensor::Tensor::empty(dtype, std::move(shape));
  runtime.download(array, tensor.mutable_bytes());
  taps_[name] = dtype == DType::kBF16 ? tensor::to_f32(tensor) : tensor;
}

Place place_tokens(const model::ModelConfig& config, const model::TokenLayout& layout, const tensor::Tensor& ids,
                   Runtime& runtime) {
  Place place;
  place.batch = layout.batch;
  place.tokens = layout.tokens;
  place.ids = runtime.allocate("ids", Element::kI64, place.rows());
  runtime.upload(place.ids, ids.bytes());
  const ops::RopeTables tables = ops::rope_tables(model::rope_parameters(config), layout.end_position());
  const std::vector<float> cosines = rows_at(tables.cos, layout.positions);
  const std::vector<float> sines = rows_at(tables.sin, layout.positions);
  place.cosines = runtime.allocate("cosines", Element::kF32, std::ssize(cosines));
  place.sines = runtime.allocate("sines", Element::kF32, std::ssize(sines));
  runtime.upload(place.cosines, std::as_bytes(std::span(cosines)));
  runtime.upload(place.sines, std::as_bytes(std::span(sines)));
  return place;
}

void linear(const Pass& pass, const Array& x, std::int64_t rows, const std::string& weight, const Array& y) {
  const Parameter& parameter = pass.parameters.of(weight);
  pass.runtime.run([&] { kernels::plain_gemm(forward_product(x, rows, parameter, y)); });
}

void linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const std::string& weight,
                     const Array& dx, bool add) {
  const Parameter& parameter = pass.parameters.of(weight);
  pass.runtime.run([&] {
    kernels::plain_gemm(weight_gradient(dy, x, rows, parameter));
    kernels::plain_gemm(input_gradient(dy, rows, parameter, dx, add));
  });
}

void expert_linear(const Pass& pass, const Array& x, std::int64_t rows, const Array& offsets, const std::string& weight,
                   const Array& y) {
  const Parameter& parameter = pass.parameters.of(weight);
  pass.runtime.run(
      [&] { kernels::plain_gemm_by_rows(forward_product(x, rows, parameter, y), by_expert(offsets, parameter)); });
}

void expert_linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const Array& offsets,
                            const std::string& weight, const Array& dx, bool add) {
  const Parameter& parameter = pass.parameters.of(weight);
  const GroupedRows experts = by_expert(offsets, parameter);
  pass.runtime.run([&] {
    kernels::plain_gemm_by_depth(weight_gradient(dy, x, rows, parameter), experts);
    kernels::plain_gemm_by_rows(input_gradient(dy, rows, parameter, dx, add), experts);
  });
}

void norm(const Pass& pass, const Array& x, std::int64_t rows, std::int64_t x_stride, const std::string& gain,
          double eps, const Array& y, std::int64_t y_stride) {
  const Parameter& weight = pass.parameters.of(gain);
  pass.runtime.run([&] {
    kernels::rms_norm_values(
        x.values(), weight.value.f32(),
        {narrow(rows), narrow(weight.cols()), narrow(x_stride), narrow(y_stride), static_cast<float>(eps)}, y.values());
  });
}

void norm_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, std::int64_t x_stride,
                   const std::string& gain, double eps, const Array& dx) {
  const Parameter& weight = pass.parameters.of(gain);
  const Runtime::Scope scope(pass.runtime);
  const Array factors = pass.runtime.allocate("norm factors", Element::kF32, rows);
  pass.runtime.run([&] {
    kernels::rms_norm_gradient(
        dy.values(), x.values(), weight.value.f32(),
        {narrow(rows), narrow(weight.cols()), narrow(x_stride), narrow(x_stride), static_cast<float>(eps)}, dx.values(),
        weight.gradient.f32(), factors.f32());
  });
}

void add(const Pass& pass, const Array& a, const Array& b, const Array& y) {
  pass.runtime.run([&] { kernels::add_values(a.values(), b.values(), y.values(), static_cast<std::size_t>(y.count)); });
}

}  // namespace lastbit::device
