#include "kernels/device/pass.h"

#include <vector>

#include "core/error.h"
#include "kernels/device/fp8_products.h"
#include "kernels/device/narrow.h"
#include "kernels/device/support.h"
#include "kernels/gemm/linear_gemm.h"
#include "kernels/layers/elementwise.h"
#include "kernels/layers/embedding.h"
#include "kernels/plain/layers.h"
#include "model/attention.h"
#include "model/language_head.h"
#include "ops/rope.h"
#include "tensor/cast.h"

namespace lastbit::device {
namespace {

using kernels::GemmRole;
using kernels::Version;

// W as products take it.
const Array& operand(const Parameter& weight) { return weight.codes.count > 0 ? weight.codes : weight.value; }

// a as the other operand is: FP32 beside FP32. What it takes for that goes with the caller's Scope.
Array beside(const Pass& pass, const Array& a, const Array& other) {
  if (a.element == other.element) return a;
  core::check(a.element == Element::kBF16, "values become codes where they are made");
  const Array widened = pass.runtime.allocate("widened", Element::kF32, a.count);
  pass.runtime.run(
      [&] { kernels::to_fp32(a.codes(), static_cast<std::size_t>(a.count), widened.f32(), Version::kTuned); });
  return widened;
}

// d [m, n] of operands of one type; by group where there are offsets.
struct Product {
  Array a;
  Array b;
  Array d;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  GemmRole role;
  bool add;
};
void multiply(const Pass& pass, const Product& product, const Array& offsets, std::int64_t groups) {
  core::check(product.a.element == product.b.element, "a product of operands of one type");
  const int m = narrow(product.m);
  const int n = narrow(product.n);
  const int k = narrow(product.k);
  const auto call = [&](auto type) {
    using T = decltype(type);
    return kernels::LinearGemm<T>{product.a.as<T>(),
                                  product.b.as<T>(),
                                  product.d.data,
                                  m,
                                  n,
                                  k,
                                  product.role,
                                  product.d.element == Element::kBF16,
                                  product.add,
                                  offsets.count > 0 ? offsets.i64() : nullptr,
                                  narrow(groups)};
  };
  pass.runtime.run([&] {
    if (product.a.element == Element::kBF16)
      kernels::bf16_gemm(call(std::uint16_t{}), Version::kTuned);
    else
      kernels::fp32_gemm(call(float{}), Version::kTuned);
  });
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
  require_length(layout.end_position(), false);
  Place place;
  place.batch = layout.batch;
  place.tokens = layout.tokens;
  place.ids = runtime.allocate("ids", Element::kI64, place.rows());
  runtime.send(place.ids, ids.bytes());
  const ops::RopeTables tables = ops::rope_tables(model::rope_parameters(config), layout.end_position());
  const std::vector<float> cosines = rows_at(tables.cos, layout.positions);
  const std::vector<float> sines = rows_at(tables.sin, layout.positions);
  place.cosines = runtime.allocate("cosines", Element::kF32, std::ssize(cosines));
  place.sines = runtime.allocate("sines", Element::kF32, std::ssize(sines));
  runtime.send(place.cosines, std::as_bytes(std::span(cosines)));
  runtime.send(place.sines, std::as_bytes(std::span(sines)));
  return place;
}

void place_targets(Place& place, const tensor::Tensor& targets, Runtime& runtime) {
  place.targets = runtime.allocate("targets", Element::kI64, place.rows());
  runtime.send(place.targets, targets.bytes());
  place.target_count = model::count_targets(targets);
}

void expert_linear(const Pass& pass, const Array& x, std::int64_t rows, const Array& offsets, const std::string& weight,
                   const Array& y) {
  const Runtime::Scope scope(pass.runtime);
  const Parameter& parameter = pass.parameters.of(weight);
  if (parameter.fp8_codes.count > 0) {
    fp8_linear(pass, x, rows, offsets, parameter, y);
    return;
  }
  const Array& w = operand(parameter);
  multiply(pass, {beside(pass, x, w), w, y, rows, parameter.rows(), parameter.cols(), GemmRole::kNt, false}, offsets,
           std::ssize(parameter.tensors));
}

void expert_linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const Array& offsets,
                            const std::string& weight, const Array& dx, bool add) {
  const Runtime::Scope scope(pass.runtime);
  const Parameter& parameter = pass.parameters.of(weight);
  const std::int64_t groups = std::ssize(parameter.tensors);
  multiply(pass,
           {dy, beside(pass, x, dy), parameter.gradient, parameter.rows(), parameter.cols(), rows, GemmRole::kTn, true},
           offsets, groups);
  multiply(pass, {dy, operand(parameter), dx, rows, parameter.cols(), parameter.rows(), GemmRole::kNn, add}, offsets,
           groups);
}

void linear(const Pass& pass, const Array& x, std::int64_t rows, const std::string& weight, const Array& y) {
  expert_linear(pass, x, rows, {}, weight, y);
}

void linear_gradient(const Pass& pass, const Array& dy, const Array& x, std::int64_t rows, const std::string& weight,
                     const Array& dx, bool add) {
  expert_linear_gradient(pass, dy, x, rows, {}, weight, dx, add);
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

void embedding_gradient(const Pass& pass, const Array& dy) {
  const Parameter& table = pass.parameters.of("model.embed_tokens.weight");
  pass.runtime.run([&] {
    with_type(dy.element, [&](auto type) {
      using T = decltype(type);
      kernels::embedding_backward(dy.as<T>(), pass.place.ids.i64(), narrow(pass.place.rows()), narrow(table.cols()),
                                  table.gradient.f32(), Version::kTuned);
    });
  });
}

void add(const Pass& pass, const Array& a, const Array& b, const Array& y) {
  pass.runtime.run([&] {
    with_type(y.element, [&](auto type) {
      using T = decltype(type);
      kernels::add(a.as<T>(), b.as<T>(), static_cast<std::size_t>(y.count), y.as<T>(), Version::kTuned);
    });
  });
}

}  // namespace lastbit::device
