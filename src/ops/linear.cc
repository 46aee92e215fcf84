#include "ops/linear.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/matmul.h"
#include "numerics/quantize_e5m6.h"
#include "ops/matrix.h"
#include "ops/tensor_core.h"

namespace lastbit::ops {

// What the products below read of a LinearInput.
struct LinearInputAccess {
  using Tensor = tensor::Tensor;
  static const std::vector<CodedOperand>& coded(const LinearInput& x) { return x.coded_; }
  static const std::vector<CodedOperand>& e5m6(const LinearInput& x) { return x.e5m6_; }
  static const Tensor& exact(const LinearInput& x) { return x.values_; }
  static bool codes_stand(const LinearInput& x) { return x.codes_stand_; }
};

namespace {

using numerics::FloatMatrix;
using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kColumnsATask = 64;  // of a bias's gradient

// Rows of one group of a contiguous FP32 tensor.
FloatMatrix group_rows(const Tensor& x, const GroupOffsets& offsets, std::size_t g) {
  const std::int64_t columns = x.dim(-1);
  const std::int64_t rows = offsets[g + 1] - offsets[g];
  return {x.values<float>().subspan(static_cast<std::size_t>(offsets[g] * columns),
                                    static_cast<std::size_t>(rows * columns)),
          rows, columns};
}

OperandSource input_source(const LinearSite& site, std::size_t g) {
  return {site.name + ": the input", site.scales, g, false};
}
OperandSource weight_source(const LinearSite& site, std::size_t g) {
  return {site.name + ".weight", site.scales, g, false};
}
OperandSource gradient_source(const LinearSite& site, std::size_t g) {
  return {site.name + ": the output's gradient", site.scales, g, false};
}

FloatMatrix whole(const Tensor& weight) { return {weight.values<float>(), weight.dim(0), weight.dim(1)}; }

// make(g) for every group, beside each other.
template <typename Make>
std::vector<CodedOperand> for_groups(std::size_t groups, Make make) {
  std::vector<CodedOperand> operands(groups);
  core::parallel_for(static_cast<std::int64_t>(groups), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto g = static_cast<std::size_t>(begin); g < static_cast<std::size_t>(end); ++g) operands[g] = make(g);
  });
  return operands;
}

// The problems of all groups in the precision of T. `shape(g)`: a and b of the group; D's first element.
template <typename T, typename Problem>
void run_plain(std::size_t groups, Problem problem) {
  std::vector<numerics::MatmulProblem<T>> problems;
  problems.reserve(groups);
  for (std::size_t g = 0; g < groups; ++g) problems.push_back(problem(g));
  numerics::matmul_batch(std::span<const numerics::MatmulProblem<T>>(problems));
}

template <typename T>
numerics::MatrixView<T> rows_of(const Tensor& x, const GroupOffsets& offsets, std::size_t g) {
  const std::int64_t columns = x.dim(-1);
  return {x.values<T>().data() + offsets[g] * columns, offsets[g + 1] - offsets[g], columns, columns, false};
}

template <typename T>
numerics::MatrixView<T> turned(const numerics::MatrixView<T>& view) {
  return {view.data, view.cols, view.rows, view.stride, !view.transposed};
}

template <typename T>
numerics::MatrixView<T> weight_view(const Tensor& weight) {
  return {weight.values<T>().data(), weight.dim(0), weight.dim(1), weight.dim(1), false};
}

template <typename T>
void fprop_plain(const Tensor& x, const GroupOffsets& offsets, std::span<const Tensor> weights, Tensor& y) {
  T* out = y.mutable_values<T>().data();
  const std::int64_t columns = y.dim(-1);
  run_plain<T>(weights.size(), [&](std::size_t g) {
    return numerics::MatmulProblem<T>{rows_of<T>(x, offsets, g), turned(weight_view<T>(weights[g])),
                                      out + offsets[g] * columns, columns, false};
  });
}

template <typename T>
void dgrad_plain(const Tensor& dy, const GroupOffsets& offsets, std::span<const Tensor> weights, Tensor& dx) {
  T* out = dx.mutable_values<T>().data();
  const std::int64_t columns = dx.dim(-1);
  run_plain<T>(weights.size(), [&](std::size_t g) {
    return numerics::MatmulProblem<T>{rows_of<T>(dy, offsets, g), weight_view<T>(weights[g]),
                                      out + offsets[g] * columns, columns, false};
  });
}

template <typename T>
void wgrad_plain(const Tensor& dy, const Tensor& x, const GroupOffsets& offsets, std::span<Tensor> dweights) {
  run_plain<T>(dweights.size(), [&](std::size_t g) {
    return numerics::MatmulProblem<T>{turned(rows_of<T>(dy, offsets, g)), rows_of<T>(x, offsets, g),
                                      dweights[g].mutable_values<T>().data(), dweights[g].dim(1), true};
  });
}

// One product of all groups on a tensor core, with its entry in the shadow's log.
class CoreProduct {
 public:
  CoreProduct(const ProductNumerics& numerics, const LinearSite& site, const char* product)
      : numerics_(numerics), site_(site), loss_{site.name, product, 0, 0, 0, 0, {}, {}} {}

  // Operands in codes, and where D goes.
  void add(const CodedOperand& left, const CodedOperand& right, float* d, bool accumulate) {
    products_.push_back({&left, &right, d, accumulate});
  }
  void run() { run_products(numerics_, products_); }

  [[nodiscard]] bool shadowed() const { return site_.shadow != nullptr; }
  // After run(): the operands of group g as they were, and the product in FP32.
  void compare(std::size_t g, const FloatMatrix& left, bool left_turned, const FloatMatrix& right, bool right_turned,
               const numerics::MatrixView<float>& a, const numerics::MatrixView<float>& b,
               std::span<const float> result) {
    std::vector<float> shadow(static_cast<std::size_t>(a.rows * b.cols));
    numerics::matmul(numerics::MatmulProblem<float>{a, b, shadow.data(), b.cols, false});
    loss_.add(result, shadow);
    add(loss_.left, operand_loss(left, *products_[g].left->codes, left_turned));
    add(loss_.right, operand_loss(right, *products_[g].right->codes, right_turned));
  }
  void record() { site_.shadow->record(std::move(loss_)); }

 private:
  static void add(OperandLoss& sum, const OperandLoss& loss) {
    sum.elements += loss.elements;
    sum.flushed += loss.flushed;
    sum.saturated += loss.saturated;
  }

  const ProductNumerics& numerics_;
  const LinearSite& site_;
  ProductLoss loss_;
  std::vector<CodedProduct> products_;
};

numerics::MatrixView<float> view_of(const FloatMatrix& x) { return {x.values.data(), x.rows, x.cols, x.cols, false}; }

std::span<const float> result_rows(const Tensor& y, const GroupOffsets& offsets, std::size_t g) {
  return group_rows(y, offsets, g).values;
}

void fprop_core(const LinearInput& x, std::span<const Tensor> weights, const LinearNumerics& numerics,
                const LinearSite& site, CodedWeights* kept, Tensor& y) {
  const GroupOffsets& offsets = x.offsets();
  const CodedWeights coded = kept != nullptr && !kept->empty() ? *kept : for_groups(weights.size(), [&](std::size_t g) {
    return code_operand(whole(weights[g]), numerics.fprop.right, weight_source(site, g));
  });
  if (kept != nullptr && keeps_weights(numerics)) *kept = coded;
  CoreProduct product(numerics.fprop, site, "fprop");
  float* out = y.mutable_values<float>().data();
  for (std::size_t g = 0; g < weights.size(); ++g)
    product.add(LinearInputAccess::coded(x)[g], coded[g], out + offsets[g] * y.dim(-1), false);
  product.run();
  if (!product.shadowed()) return;
  for (std::size_t g = 0; g < weights.size(); ++g) {
    const FloatMatrix left = group_rows(LinearInputAccess::exact(x), offsets, g);
    const FloatMatrix right = whole(weights[g]);
    product.compare(g, left, false, right, false, view_of(left), turned(view_of(right)), result_rows(y, offsets, g));
  }
  product.record();
}

void dgrad_core(const Tensor& dy, const GroupOffsets& offsets, std::span<const Tensor> weights,
                const LinearNumerics& numerics, const LinearSite& site, const CodedWeights* kept, Tensor& dx) {
  const std::vector<CodedOperand> left = for_groups(weights.size(), [&](std::size_t g) {
    return code_operand(group_rows(dy, offsets, g), numerics.dgrad.left, gradient_source(site, g));
  });
  const CodedWeights right = for_groups(weights.size(), [&](std::size_t g) {
    if (kept != nullptr && !kept->empty()) return (*kept)[g].turned();
    return code_columns(whole(weights[g]), numerics.dgrad.right, weight_source(site, g));
  });
  CoreProduct product(numerics.dgrad, site, "dgrad");
  float* out = dx.mutable_values<float>().data();
  for (std::size_t g = 0; g < weights.size(); ++g) product.add(left[g], right[g], out + offsets[g] * dx.dim(-1), false);
  product.run();
  if (!product.shadowed()) return;
  for (std::size_t g = 0; g < weights.size(); ++g) {
    const FloatMatrix gradient = group_rows(dy, offsets, g);
    const FloatMatrix weight = whole(weights[g]);
    product.compare(g, gradient, false, weight, false, view_of(gradient), view_of(weight), result_rows(dx, offsets, g));
  }
  product.record();
}

// x as wgrad's right operand [in, rows of the group].
CodedOperand wgrad_input(const LinearInput& x, std::size_t g, const Tensor& values, const LinearNumerics& numerics,
                         const LinearSite& site) {
  const OperandNumerics& right = numerics.wgrad.right;
  OperandSource source = input_source(site, g);
  source.again = LinearInputAccess::codes_stand(x);
  const bool from_codes = LinearInputAccess::codes_stand(x) && LinearInputAccess::e5m6(x).empty();
  if (!from_codes) return code_columns(group_rows(values, x.offsets(), g), right, source);
  const CodedOperand& kept = LinearInputAccess::coded(x)[g];
  if (!right.scaled()) return kept.turned();
  const std::vector<float> again = coded_values(kept);
  return code_columns({again, kept.codes->rows, kept.codes->cols}, right, source);
}

void wgrad_core(const Tensor& dy, const LinearInput& x, std::span<Tensor> dweights, const LinearNumerics& numerics,
                const LinearSite& site) {
  const GroupOffsets& offsets = x.offsets();
  const bool from_codes = LinearInputAccess::codes_stand(x) && LinearInputAccess::e5m6(x).empty();
  const Tensor values = from_codes ? Tensor() : x.values();
  const std::vector<CodedOperand> left = for_groups(dweights.size(), [&](std::size_t g) {
    return code_transposed(group_rows(dy, offsets, g), numerics.wgrad.left, gradient_source(site, g));
  });
  const std::vector<CodedOperand> right =
      for_groups(dweights.size(), [&](std::size_t g) { return wgrad_input(x, g, values, numerics, site); });
  CoreProduct product(numerics.wgrad, site, "wgrad");
  std::vector<Tensor> fresh;  // with a shadow the product is seen alone before it is added
  for (std::size_t g = 0; g < dweights.size(); ++g) {
    if (product.shadowed()) fresh.push_back(Tensor::empty(DType::kF32, dweights[g].shape()));
    Tensor& target = product.shadowed() ? fresh[g] : dweights[g];
    product.add(left[g], right[g], target.mutable_values<float>().data(), !product.shadowed());
  }
  product.run();
  if (!product.shadowed()) return;
  for (std::size_t g = 0; g < dweights.size(); ++g) {
    const FloatMatrix gradient = group_rows(dy, offsets, g);
    const FloatMatrix input = group_rows(LinearInputAccess::exact(x), offsets, g);
    product.compare(g, gradient, codes_lie_turned(numerics.wgrad.left), input, false, turned(view_of(gradient)),
                    view_of(input), fresh[g].values<float>());
    const auto sum = dweights[g].mutable_values<float>();
    const auto one = fresh[g].values<float>();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
  }
  product.record();
}

template <typename T>
void add_bias(Tensor& y, const Tensor& bias) {
  const std::int64_t columns = y.dim(-1);
  T* out = y.mutable_values<T>().data();
  const T* offset = bias.values<T>().data();
  for (std::int64_t r = 0; r < y.size() / columns; ++r)
    for (std::int64_t i = 0; i < columns; ++i) out[r * columns + i] += offset[i];
}

template <typename T>
void add_bias_gradient(const Tensor& dy, Tensor& dbias) {
  const std::int64_t columns = dy.dim(-1);
  const std::int64_t rows = dy.size() / columns;
  const T* gradient = dy.values<T>().data();
  T* sum = dbias.mutable_values<T>().data();
  core::parallel_for(columns, kColumnsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = begin; i < end; ++i) sum[i] += gradient[r * columns + i];
  });
}

void check_weights(std::int64_t in, const GroupOffsets& offsets, std::span<const Tensor> weights) {
  core::check(offsets.size() == weights.size() + 1, "linear: one weight a group");
  for (const Tensor& weight : weights)
    core::check(weight.rank() == 2 && weight.dim(1) == in && weight.shape() == weights.front().shape(),
                "linear: x [..., in] and weights [out, in] of one shape");
}

GroupOffsets one_group(const Tensor& x) { return {0, as_rows(x)}; }

}  // namespace

bool keeps_weights(const LinearNumerics& numerics) {
  return numerics.tensor_core && same_codes(numerics.fprop.right, numerics.dgrad.right);
}

LinearInput::LinearInput(Tensor x, const LinearNumerics& numerics, const LinearSite& site, GroupOffsets offsets)
    : shape_(x.shape()), offsets_(std::move(offsets)), values_(std::move(x)) {
  if (offsets_.empty()) offsets_ = one_group(values_);
  core::check(
      offsets_.front() == 0 && offsets_.back() == as_rows(values_) && std::is_sorted(offsets_.begin(), offsets_.end()),
      "linear: groups cover the rows of x");
  if (!numerics.tensor_core) return;
  const std::size_t groups = offsets_.size() - 1;
  coded_ = for_groups(groups, [&](std::size_t g) {
    return code_operand(group_rows(values_, offsets_, g), numerics.fprop.left, input_source(site, g));
  });
  if (numerics.e5m6_cache)
    e5m6_ = for_groups(groups, [&](std::size_t g) {
      return CodedOperand{std::make_shared<const numerics::Quantized>(
                              numerics::quantize_e5m6(group_rows(values_, offsets_, g), site.name + ": the input")),
                          false};
    });
  codes_stand_ =
      numerics.e5m6_cache || numerics.wgrad_input == WgradInput::kRequantised || !numerics.wgrad.right.scaled();
  if (codes_stand_ && site.shadow == nullptr) values_ = Tensor();
}

Tensor LinearInput::values() const {
  if (!codes_stand_) return values_;
  Tensor result = Tensor::empty(DType::kF32, shape_);
  auto out = result.mutable_values<float>().begin();
  for (const CodedOperand& group : e5m6_.empty() ? coded_ : e5m6_) {
    const std::vector<float> values = e5m6_.empty() ? coded_values(group) : numerics::dequantize_e5m6(*group.codes);
    out = std::copy(values.begin(), values.end(), out);
  }
  return result;
}

void LinearInput::end_fprop() {
  if (!e5m6_.empty()) coded_.clear();
}

std::size_t LinearInput::bytes() const {
  std::size_t sum = values_.nbytes();
  for (const auto* groups : {&coded_, &e5m6_})
    for (const CodedOperand& group : *groups)
      sum += group.codes->codes.size() + group.codes->scales.size() * sizeof(float);
  return sum;
}

Tensor grouped_linear(const LinearInput& x, std::span<const Tensor> weights, const LinearNumerics& numerics,
                      const LinearSite& site, CodedWeights* coded) {
  check_weights(x.columns(), x.offsets(), weights);
  tensor::Shape shape = x.shape();
  shape.back() = weights.front().dim(0);
  Tensor y = Tensor::empty(weights.front().dtype(), std::move(shape));
  if (numerics.tensor_core)
    fprop_core(x, weights, numerics, site, coded, y);
  else if (y.dtype() == DType::kF64)
    fprop_plain<double>(x.values(), x.offsets(), weights, y);
  else
    fprop_plain<float>(x.values(), x.offsets(), weights, y);
  return y;
}

Tensor grouped_linear_dgrad(const Tensor& dy, const GroupOffsets& offsets, std::span<const Tensor> weights,
                            const LinearNumerics& numerics, const LinearSite& site, const CodedWeights* coded) {
  check_weights(weights.front().dim(1), offsets, weights);
  core::check(dy.dim(-1) == weights.front().dim(0) && offsets.back() == as_rows(dy), "linear: dy [..., out]");
  Tensor dx = Tensor::empty(dy.dtype(), with_last_axis(dy, weights.front().dim(1)));
  if (numerics.tensor_core)
    dgrad_core(dy, offsets, weights, numerics, site, coded, dx);
  else if (dx.dtype() == DType::kF64)
    dgrad_plain<double>(dy, offsets, weights, dx);
  else
    dgrad_plain<float>(dy, offsets, weights, dx);
  return dx;
}

void grouped_linear_wgrad(const Tensor& dy, const LinearInput& x, std::span<Tensor> dweights,
                          const LinearNumerics& numerics, const LinearSite& site) {
  check_weights(x.columns(), x.offsets(), dweights);
  core::check(dy.dim(-1) == dweights.front().dim(0) && x.rows() == as_rows(dy), "linear: dy [..., out]");
  if (numerics.tensor_core)
    wgrad_core(dy, x, dweights, numerics, site);
  else if (dy.dtype() == DType::kF64)
    wgrad_plain<double>(dy, x.values(), x.offsets(), dweights);
  else
    wgrad_plain<float>(dy, x.values(), x.offsets(), dweights);
}

Tensor linear(const LinearInput& x, const Tensor& weight, const LinearNumerics& numerics, const LinearSite& site,
              const Tensor* bias, CodedWeights* coded) {
  Tensor y = grouped_linear(x, {&weight, 1}, numerics, site, coded);
  if (bias == nullptr) return y;
  core::check(bias->size() == weight.dim(0), "linear: bias [out]");
  if (y.dtype() == DType::kF64)
    add_bias<double>(y, *bias);
  else
    add_bias<float>(y, *bias);
  return y;
}

Tensor linear_dgrad(const Tensor& dy, const Tensor& weight, const LinearNumerics& numerics, const LinearSite& site,
                    const CodedWeights* coded) {
  return grouped_linear_dgrad(dy, one_group(dy), {&weight, 1}, numerics, site, coded);
}

void linear_wgrad(const Tensor& dy, const LinearInput& x, Tensor& dweight, const LinearNumerics& numerics,
                  const LinearSite& site, Tensor* dbias) {
  grouped_linear_wgrad(dy, x, {&dweight, 1}, numerics, site);
  if (dbias == nullptr) return;
  core::check(dbias->size() == dy.dim(-1), "linear: dbias [out]");
  if (dy.dtype() == DType::kF64)
    add_bias_gradient<double>(dy, *dbias);
  else
    add_bias_gradient<float>(dy, *dbias);
}

}  // namespace lastbit::ops
