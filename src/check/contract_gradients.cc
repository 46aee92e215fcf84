// Gradients of RMSNorm, SwiGLU and latent attention, as kernels of training compute them.
#include <cmath>
#include <span>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "ops/attention_core.h"
#include "ops/rms_norm.h"
#include "ops/swiglu.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

// An array whose elements are rounded to `dtype` from what is within `errors` of `exact`.
Expected banded(const Tensor& exact, const std::vector<double>& errors, DType dtype) {
  const auto values = exact.values<double>();
  std::vector<float> bound;
  for (std::size_t i = 0; i < values.size(); ++i) bound.push_back(rounding_bound(values[i], errors[i], dtype));
  return {rounded({values.begin(), values.end()}, dtype, exact.shape()), Tensor::from<float>(exact.shape(), bound)};
}

// ---- RMSNorm

NamedTensors draw_norm_gradient(const DrawRequest& request) {
  const Shape shape{request.size(0), request.size(1)};
  return {{"dy", draw_activations("normal", DType::kBF16, shape, request.seed, "dy")},
          {"x", draw_activations(request.family, DType::kBF16, shape, request.seed, "x")},
          {"weight", draw_activations("normal", DType::kBF16, {request.size(1)}, request.seed, "weight")}};
}

// A row of x with what its gradient is made of.
struct NormRow {
  std::span<const double> dy;
  std::span<const double> x;
  std::span<const double> weight;
  double factor;     // s = 1 / sqrt(mean(x^2) + eps)
  double magnitude;  // mean |g n|

  NormRow(const Tensor& all_dy, const Tensor& all_x, const Tensor& gain, std::size_t row, double eps)
      : dy(all_dy.values<double>().subspan(row * gain.values<double>().size(), gain.values<double>().size())),
        x(all_x.values<double>().subspan(row * gain.values<double>().size(), gain.values<double>().size())),
        weight(gain.values<double>()),
        factor(0),
        magnitude(0) {
    const auto d = static_cast<double>(weight.size());
    double squares = 0;
    for (const double value : x) squares += value * value;
    factor = 1 / std::sqrt(squares / d + eps);
    for (std::size_t i = 0; i < x.size(); ++i) magnitude += std::abs(g(i) * n(i)) / d;
  }
  [[nodiscard]] double n(std::size_t i) const { return x[i] * factor; }
  [[nodiscard]] double g(std::size_t i) const { return dy[i] * weight[i]; }
};

constexpr double kTiny = 0x1p-140;  // what sums of products that underflow in FP32 lose at most

ExpectedOutputs expect_norm_gradient(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor dy = wide(input(inputs, "dy"));
  const Tensor x = wide(input(inputs, "x"));
  const Tensor weight = wide(input(inputs, "weight"));
  const double eps = settings.fault("eps") == "0" ? 0 : settings.number("eps");
  Tensor dweight = Tensor::zeros(DType::kF64, weight.shape());
  Tensor dx = ops::rms_norm_backward(dy, x, weight, eps, dweight);
  const auto d = static_cast<std::size_t>(x.dim(1));
  const double units = static_cast<double>(d) * kUnitF32;
  const double rows = static_cast<double>(x.dim(0)) * kUnitF32;
  std::vector<double> dx_errors;
  std::vector<double> gain_errors(d);
  for (std::size_t row = 0; row < static_cast<std::size_t>(x.dim(0)); ++row) {
    const NormRow of(dy, x, weight, row, eps);
    for (std::size_t i = 0; i < d; ++i) {
      if (settings.fault("mean") == "none") dx.mutable_values<double>()[row * d + i] = of.factor * of.g(i);
      dx_errors.push_back(
          of.factor *
          ((std::abs(of.g(i)) + 2 * std::abs(of.n(i)) * of.magnitude) * (1.5 * units + 8 * kUnitF32) + kTiny));
      gain_errors[i] += std::abs(of.dy[i] * of.n(i)) * (units / 2 + rows + 4 * kUnitF32) + kTiny;
    }
  }
  return {{"dx", banded(dx, dx_errors, DType::kBF16)}, {"dweight", banded(dweight, gain_errors, DType::kF32)}};
}

std::vector<Alternative> norm_gradient_alternatives(const ContractSettings& /*settings*/) {
  return {{"eps left out", {{"eps", "0"}}}, {"the gradient of the mean square left out", {{"mean", "none"}}}};
}

Contract norm_gradient_contract() {
  Contract contract{
      "rms_norm_backward",
      "With s = 1 / sqrt(mean(x^2) + eps), n = x s, g = dy weight: dx = s (g - n mean(g n)), dweight = sum "
      "over tokens of dy n"};
  contract.axes = {"tokens", "d"};
  contract.inputs = {{"dy", "bf16", "[tokens, d]", "gradient of the result"},
                     {"x", "bf16", "[tokens, d]", "values"},
                     {"weight", "bf16", "[d]", "gain"}};
  contract.outputs = {
      {{"dx", "bf16", "[tokens, d]", "gradient of the values"},
       ToleranceClass::kBand,
       0,
       "sums of d terms in FP32 are off by d 2^-24 of the sum of magnitudes in any order, s by half of that, and every "
       "operation by 2^-24: (1.5 d + 8) 2^-24 s (|g| + 2 |n| mean |g n|); right is the rounding to BF16 of any number "
       "that near to the exact one"},
      {{"dweight", "f32", "[d]", "gradient of the gain"},
       ToleranceClass::kBand,
       0,
       "s as for dx and a sum over tokens in any order: (d / 2 + tokens + 4) 2^-24 of the sum of |dy n|"}};
  contract.settings = {number_setting("eps", "1e-6", 0, 1, "added to the mean square")};
  contract.shapes = {{1, 2}, {3, 7}, {33, 512}, {5, 7168}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant", "subnormal"};
  contract.draw = draw_norm_gradient;
  contract.expect = expect_norm_gradient;
  contract.alternatives = norm_gradient_alternatives;
  return contract;
}

// ---- SwiGLU

NamedTensors draw_swiglu_gradient(const DrawRequest& request) {
  const Shape shape{request.size(0), request.size(1)};
  return {{"dy", draw_activations("normal", DType::kBF16, shape, request.seed, "dy")},
          {"gate", draw_activations(request.family, DType::kBF16, shape, request.seed, "gate")},
          {"up", draw_activations("normal", DType::kBF16, shape, request.seed, "up")}};
}

ExpectedOutputs expect_swiglu_gradient(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor dy = wide(input(inputs, "dy"));
  const Tensor gate = wide(input(inputs, "gate"));
  const Tensor up = wide(input(inputs, "up"));
  ops::SwigluGradients exact = ops::swiglu_backward(dy, gate, up);
  const auto y = dy.values<double>();
  const auto g = gate.values<double>();
  const auto u = up.values<double>();
  std::vector<double> dgate_errors;
  std::vector<double> dup_errors;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double share = 1 / (1 + std::exp(-g[i]));
    const double active = std::abs(g[i]) * share;
    if (settings.fault("slope") == "sigmoid") exact.dgate.mutable_values<double>()[i] = y[i] * u[i] * share;
    // Where exp(-gate) is beyond FP32 the share is 0 rather than a number below 2^-127.
    const double lost = (1 + std::abs(g[i])) * 0x1p-127;
    dgate_errors.push_back(std::abs(y[i] * u[i]) * ((share + 2 * active) * 0x1p-20 + lost) + kTiny);
    dup_errors.push_back(std::abs(y[i]) * (active * 0x1p-20 + lost) + kTiny);
  }
  return {{"dgate", banded(exact.dgate, dgate_errors, DType::kBF16)},
          {"dup", banded(exact.dup, dup_errors, DType::kBF16)}};
}

std::vector<Alternative> swiglu_gradient_alternatives(const ContractSettings& /*settings*/) {
  return {{"the sigmoid for the derivative of silu", {{"slope", "sigmoid"}}}};
}

Contract swiglu_gradient_contract() {
  Contract contract{"swiglu_backward",
                    "With s = sigmoid(gate) and a = gate s: dup = dy a, dgate = dy up (s + a (1 - s))"};
  contract.axes = {"tokens", "d"};
  contract.inputs = {{"dy", "bf16", "[tokens, d]", "gradient of the result"},
                     {"gate", "bf16", "[tokens, d]", "what silu is taken of"},
                     {"up", "bf16", "[tokens, d]", "what it is multiplied by"}};
  const std::string band =
      "an exp() within 2 ulp and six operations in FP32: 2^-20 of |dy up| (s + 2 |a|), of |dy a| for dup; where exp() "
      "overflows s may be 0; right is the rounding to BF16 of any number that near to the exact one";
  contract.outputs = {{{"dgate", "bf16", "[tokens, d]", "gradient of gate"}, ToleranceClass::kBand, 0, band},
                      {{"dup", "bf16", "[tokens, d]", "gradient of up"}, ToleranceClass::kBand, 0, band}};
  contract.shapes = {{1, 1}, {3, 7}, {17, 512}};
  contract.families = {"normal", "outlier", "sparse", "zero_rows", "constant", "subnormal"};
  contract.draw = draw_swiglu_gradient;
  contract.expect = expect_swiglu_gradient;
  contract.alternatives = swiglu_gradient_alternatives;
  return contract;
}

// ---- latent attention

constexpr std::int64_t kHeadQuery = 192;
constexpr std::int64_t kHeadValue = 128;

Tensor one_sequence(const Tensor& tensor) {
  Shape shape = tensor.shape();
  shape.insert(shape.begin(), 1);
  return wide(tensor).reshape(shape);
}

ops::AttentionMask mask_of(std::int64_t queries, std::int64_t keys, bool causal) {
  ops::AttentionMask mask;
  mask.causal = causal;
  mask.past = causal ? keys - queries : 0;
  return mask;
}

NamedTensors draw_attention_gradient(const DrawRequest& request) {
  const std::int64_t queries = request.size(0);
  const std::int64_t keys = request.size(1);
  const std::int64_t heads = request.size(2);
  if (queries > keys)
    core::fail_input("mla_prefill_backward: {} queries and {} keys, expected no more queries than keys", queries, keys);
  const auto draw = [&](const char* name, const std::string& family, Shape shape) {
    return draw_activations(family, DType::kBF16, std::move(shape), request.seed, name);
  };
  NamedTensors inputs{{"dout", draw("dout", "normal", {queries, heads, kHeadValue})},
                      {"q", draw("q", request.family, {queries, heads, kHeadQuery})},
                      {"k", draw("k", request.family, {keys, heads, kHeadQuery})},
                      {"v", draw("v", request.family, {keys, heads, kHeadValue})}};
  const ops::AttentionResult result =
      ops::attention_core(one_sequence(inputs.at("q")), one_sequence(inputs.at("k")), one_sequence(inputs.at("v")),
                          request.settings.number("scale"), mask_of(queries, keys, request.settings.flag("causal")));
  const auto out = result.out.values<double>();
  const auto logs = result.log_sum_exp.values<double>();
  inputs.emplace("out", rounded({out.begin(), out.end()}, DType::kBF16, {queries, heads, kHeadValue}));
  inputs.emplace("lse", rounded({logs.begin(), logs.end()}, DType::kF32, {queries, heads}));
  return inputs;
}

double length_of(std::span<const double> x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

// One head of a query or key: [1, S, heads, width] in double.
std::span<const double> head_of(const Tensor& tensor, std::int64_t token, std::int64_t head) {
  const auto width = static_cast<std::size_t>(tensor.dim(3));
  return tensor.values<double>().subspan(static_cast<std::size_t>(token * tensor.dim(2) + head) * width, width);
}

// Errors of dq, dk and dv, as kGradientBand has them.
struct AttentionErrors {
  std::vector<double> dq;
  std::vector<double> dk;
  std::vector<double> dv;
};

struct AttentionOperands {
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor dout;
  ops::AttentionResult result;
  double scale;
  ops::AttentionMask mask;
};

constexpr double kTensorUnit = 0x1p-23;  // of a sum that a tensor core may truncate
constexpr double kLeastCode = 0x1p-133;  // BF16's: what rounding to it loses below its normal numbers, at most

// What one query and one key add to the errors.
void add_pair_errors(const AttentionOperands& in, std::int64_t query, std::int64_t key, std::int64_t head,
                     AttentionErrors& errors) {
  const auto q = head_of(in.q, query, head);
  const auto k = head_of(in.k, key, head);
  const auto v = head_of(in.v, key, head);
  const auto dout = head_of(in.dout, query, head);
  const auto out = head_of(in.result.out, query, head);
  double score = 0;
  double slope = 0;
  double magnitude = 0;
  for (std::size_t i = 0; i < q.size(); ++i) score += q[i] * k[i];
  for (std::size_t i = 0; i < v.size(); ++i) {
    slope += dout[i] * (v[i] - out[i]);
    magnitude += std::abs(dout[i] * v[i]) + std::abs(dout[i] * out[i]);
  }
  const double log = in.result.log_sum_exp.values<double>()[static_cast<std::size_t>(query * in.q.dim(2) + head)];
  const double p = std::exp(score * in.scale - log);
  const double score_off = (kHeadQuery + 4) * kTensorUnit * length_of(q) * length_of(k) * in.scale;
  const double off = std::expm1(score_off + 0x1p-19 + 2 * kUnitF32 * std::abs(log));
  const double sums = 0x1p-8 + static_cast<double>(in.k.dim(1) + 4) * kTensorUnit;
  const double ds =
      p * in.scale * (std::abs(slope) * (off + sums) + (kHeadValue + 4) * kTensorUnit * magnitude) + kLeastCode;
  const double weight = p * (off + sums) + kLeastCode;
  const auto dq_at = static_cast<std::size_t>((query * in.q.dim(2) + head) * kHeadQuery);
  const auto dk_at = static_cast<std::size_t>((key * in.q.dim(2) + head) * kHeadQuery);
  const auto dv_at = static_cast<std::size_t>((key * in.q.dim(2) + head) * kHeadValue);
  for (std::size_t i = 0; i < q.size(); ++i) {
    errors.dq[dq_at + i] += ds * std::abs(k[i]);
    errors.dk[dk_at + i] += ds * std::abs(q[i]);
  }
  for (std::size_t i = 0; i < v.size(); ++i) errors.dv[dv_at + i] += weight * std::abs(dout[i]);
}

AttentionErrors attention_errors(const AttentionOperands& in) {
  const auto size = [](const Tensor& tensor) { return static_cast<std::size_t>(tensor.size()); };
  AttentionErrors errors{std::vector<double>(size(in.q), kTiny), std::vector<double>(size(in.k), kTiny),
                         std::vector<double>(size(in.v), kTiny)};
  for (std::int64_t query = 0; query < in.q.dim(1); ++query) {
    const std::int64_t end = in.mask.causal ? in.mask.past + query + 1 : in.k.dim(1);
    for (std::int64_t key = 0; key < end; ++key)
      for (std::int64_t head = 0; head < in.q.dim(2); ++head) add_pair_errors(in, query, key, head, errors);
  }
  return errors;
}

ExpectedOutputs expect_attention_gradient(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor out = one_sequence(input(inputs, "out"));
  const Tensor& q = input(inputs, "q");
  const Tensor& k = input(inputs, "k");
  if (q.dim(0) > k.dim(0))
    core::fail_input("mla_prefill_backward: {} queries and {} keys, expected no more queries than keys", q.dim(0),
                     k.dim(0));
  const AttentionOperands in{one_sequence(q),
                             one_sequence(k),
                             one_sequence(input(inputs, "v")),
                             one_sequence(input(inputs, "dout")),
                             {settings.fault("dots") == "none" ? Tensor::zeros(DType::kF64, out.shape()) : out,
                              one_sequence(input(inputs, "lse"))},
                             settings.number("scale"),
                             mask_of(q.dim(0), k.dim(0), settings.flag("causal"))};
  ops::AttentionGrads grads = ops::attention_core_backward(in.dout, in.q, in.k, in.v, in.result, in.scale, in.mask);
  if (settings.fault("slope") == "unscaled")
    for (Tensor* gradient : {&grads.dq, &grads.dk})
      for (double& value : gradient->mutable_values<double>()) value /= in.scale;
  const AttentionErrors errors = attention_errors(in);
  return {{"dq", banded(grads.dq.reshape(q.shape()), errors.dq, DType::kF32)},
          {"dk", banded(grads.dk.reshape(k.shape()), errors.dk, DType::kF32)},
          {"dv", banded(grads.dv.reshape(input(inputs, "v").shape()), errors.dv, DType::kF32)}};
}

std::vector<Alternative> attention_gradient_alternatives(const ContractSettings& settings) {
  const bool causal = settings.flag("causal");
  return {{"the sum of dout out left out", {{"dots", "none"}}},
          {"the scale of scores left out of their gradients", {{"slope", "unscaled"}}},
          {causal ? "no causal mask" : "a causal mask", {{"causal", causal ? "false" : "true"}}}};
}

constexpr const char* kGradientBand =
    "a weight p is off by the error of its score (196 x 2^-23 |q| |k| scale), 2^-19 and 2^-23 |lse|, the gradient of a "
    "score by that and by 132 x 2^-23 p scale (sum |dout v| + sum |dout out|), both by 2^-8 and 2^-133 where they are "
    "rounded to BF16 before they meet other operands, and sums over keys or queries by the number of keys times 2^-23";

Contract attention_gradient_contract() {
  Contract contract{"mla_prefill_backward", "Gradients of mla_prefill, of what it leaves: out and log-sum-exp"};
  contract.axes = {"Sq", "Sk", "heads"};
  contract.inputs = {{"dout", "bf16", "[Sq, heads, 128]", "gradient of the result"},
                     {"q", "bf16", "[Sq, heads, 192]", "queries"},
                     {"k", "bf16", "[Sk, heads, 192]", "keys"},
                     {"v", "bf16", "[Sk, heads, 128]", "values"},
                     {"out", "bf16", "[Sq, heads, 128]", "the result"},
                     {"lse", "f32", "[Sq, heads]", "log of the sum of exponentials of the scaled scores, natural"}};
  contract.outputs = {
      {{"dq", "f32", "[Sq, heads, 192]", "gradient of queries"}, ToleranceClass::kBand, 0, kGradientBand},
      {{"dk", "f32", "[Sk, heads, 192]", "gradient of keys"}, ToleranceClass::kBand, 0, kGradientBand},
      {{"dv", "f32", "[Sk, heads, 128]", "gradient of values"}, ToleranceClass::kBand, 0, kGradientBand}};
  contract.settings = {number_setting("scale", "0.07216878364870322", 0x1p-20, 1e3, "of the scores: 1/sqrt(192)"),
                       flag_setting("causal", true, "query i meets keys up to Sk - Sq + i")};
  contract.shapes = {{1, 2, 1}, {7, 7, 2}, {33, 65, 2}};
  contract.families = {"normal", "outlier", "sparse", "zero_rows", "constant"};
  contract.draw = draw_attention_gradient;
  contract.expect = expect_attention_gradient;
  contract.alternatives = attention_gradient_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> gradient_contracts() {
  return {norm_gradient_contract(), swiglu_gradient_contract(), attention_gradient_contract()};
}

}  // namespace lastbit::check
