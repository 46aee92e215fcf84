// Latent attention at any head sizes, on operands inside of what projections give, against ops::attention_core and its
// gradients in double.
#include "kernels/attention/mla.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"
#include "numerics/bf16.h"
#include "ops/attention_core.h"

namespace lastbit::kernels {
namespace {

using tensor::Tensor;

using Codes = std::vector<std::uint16_t>;

std::size_t whole(std::int64_t n) { return static_cast<std::size_t>(n); }

// Arrays as a model has them: keys without position and values beside each other, keys with position for all heads.
struct MlaCase {
  MlaShape shape;
  Codes q;         // [sequences * queries, heads, nope + rope]
  Codes expanded;  // [sequences * keys, heads, nope + value]
  Codes k_rope;    // [sequences * keys, rope]
  Codes dout;      // [sequences * queries, heads, value]

  [[nodiscard]] int query_dim() const { return shape.nope_dim + shape.rope_dim; }
  [[nodiscard]] int expanded_dim() const { return shape.nope_dim + shape.value_dim; }
  [[nodiscard]] std::size_t query_rows() const {
    return whole(std::int64_t{shape.sequences} * shape.queries * shape.heads);
  }
  [[nodiscard]] std::size_t key_tokens() const { return whole(std::int64_t{shape.sequences} * shape.keys); }
  [[nodiscard]] std::size_t key_rows() const { return key_tokens() * whole(shape.heads); }
};

Codes draw_codes(std::size_t count, const std::string& name) {
  const core::RandomStream stream(7, name);
  Codes codes;
  for (std::size_t i = 0; i < count; ++i) codes.push_back(numerics::bf16_code(3 * stream.uniform(i) - 1.5F));
  return codes;
}

MlaCase make_case(MlaShape shape) {
  MlaCase c{shape, {}, {}, {}, {}};
  c.shape.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.query_dim())));
  c.q = draw_codes(c.query_rows() * whole(c.query_dim()), "q");
  c.expanded = draw_codes(c.key_rows() * whole(c.expanded_dim()), "expanded");
  c.k_rope = draw_codes(c.key_tokens() * whole(shape.rope_dim), "k_rope");
  c.dout = draw_codes(c.query_rows() * whole(shape.value_dim), "dout");
  return c;
}

std::vector<MlaCase> all_cases() {
  return {make_case({2, 70, 70, 2, 32, 16, 32, 0, true}),    // as `tiny` has them
          make_case({1, 19, 40, 1, 128, 64, 128, 0, true}),  // DeepSeek-V3's, behind 21 keys
          make_case({3, 6, 9, 2, 5, 3, 7, 0, false})};
}

// A view of [sequences, tokens, heads, width] in double.
template <typename Element>
Tensor as_tensor(const MlaCase& c, int tokens, int width, Element element) {
  Tensor result = Tensor::empty(tensor::DType::kF64, {c.shape.sequences, tokens, c.shape.heads, width});
  const auto values = result.mutable_values<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / whole(width);
    values[i] = element(row / whole(c.shape.heads), row % whole(c.shape.heads), i % whole(width));
  }
  return result;
}

double value_of(std::uint16_t code) { return static_cast<double>(numerics::bf16_value(code)); }

// Operands and the forward pass of the reference, its results rounded to what backward reads: BF16 and FP32.
struct MlaReference {
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor dout;
  ops::AttentionMask mask;
  ops::AttentionResult exact;
  ops::AttentionResult kept;

  explicit MlaReference(const MlaCase& c) {
    const auto heads = whole(c.shape.heads);
    const auto nope = whole(c.shape.nope_dim);
    const auto rope = whole(c.shape.rope_dim);
    const auto wide = whole(c.expanded_dim());
    const auto plain = [&](const Codes& codes, std::size_t width) {
      return [&codes, heads, width](std::size_t token, std::size_t head, std::size_t i) {
        return value_of(codes[(token * heads + head) * width + i]);
      };
    };
    q = as_tensor(c, c.shape.queries, c.query_dim(), plain(c.q, nope + rope));
    dout = as_tensor(c, c.shape.queries, c.shape.value_dim, plain(c.dout, whole(c.shape.value_dim)));
    k = as_tensor(c, c.shape.keys, c.query_dim(), [&](std::size_t token, std::size_t head, std::size_t i) {
      return value_of(i < nope ? c.expanded[(token * heads + head) * wide + i] : c.k_rope[token * rope + i - nope]);
    });
    v = as_tensor(c, c.shape.keys, c.shape.value_dim, [&](std::size_t token, std::size_t head, std::size_t i) {
      return value_of(c.expanded[(token * heads + head) * wide + nope + i]);
    });
    mask.causal = c.shape.causal;
    mask.past = c.shape.causal ? c.shape.keys - c.shape.queries : 0;
    exact = ops::attention_core(q, k, v, static_cast<double>(c.shape.scale), mask);
    kept = {exact.out.clone(), exact.log_sum_exp.clone()};
    for (double& x : kept.out.mutable_values<double>())
      x = static_cast<double>(numerics::round_bf16(static_cast<float>(x)));
    for (double& x : kept.log_sum_exp.mutable_values<double>()) x = static_cast<double>(static_cast<float>(x));
  }
};

// Everything on the device.
struct MlaArrays {
  const MlaCase& c;
  simt::DeviceArray<std::uint16_t> q{"q", std::span<const std::uint16_t>(c.q)};
  simt::DeviceArray<std::uint16_t> expanded{"expanded", std::span<const std::uint16_t>(c.expanded)};
  simt::DeviceArray<std::uint16_t> k_rope{"k_rope", std::span<const std::uint16_t>(c.k_rope)};

  [[nodiscard]] MlaOperands operands() const {
    const int heads = c.shape.heads;
    const int wide = c.expanded_dim();
    return {{q.data(), heads * c.query_dim(), c.query_dim()},
            {expanded.data(), heads * wide, wide},
            {k_rope.data(), c.shape.rope_dim, 0},
            {expanded.data() + c.shape.nope_dim, heads * wide, wide},
            c.shape};
  }
};

template <typename T>
void append(std::vector<float>& all, const std::vector<T>& values) {
  for (const T value : values)
    if constexpr (std::is_same_v<T, float>)
      all.push_back(value);
    else
      all.push_back(numerics::bf16_value(value));
}

// out, then log_sum_exp.
std::vector<float> run_forward(const MlaCase& c, Version version) {
  return simt::in_every_order("mla_prefill", [&] {
    const MlaArrays arrays{c};
    const simt::DeviceArray<std::uint16_t> out("out", c.dout.size());
    const simt::DeviceArray<float> log_sum_exp("log_sum_exp", c.query_rows());
    mla_prefill(
        {arrays.operands(), {out.data(), c.shape.heads * c.shape.value_dim, c.shape.value_dim}, log_sum_exp.data()},
        version);
    std::vector<float> all;
    append(all, out.download());
    append(all, log_sum_exp.download());
    return all;
  });
}

// dq, then dk_nope and dv beside each other, then dk_rope by head, then its sum over heads.
std::vector<float> run_backward(const MlaCase& c, const MlaReference& reference, Version version) {
  Codes out;
  std::vector<float> logs;
  for (const double x : reference.kept.out.values<double>()) out.push_back(numerics::bf16_code(static_cast<float>(x)));
  for (const double x : reference.kept.log_sum_exp.values<double>()) logs.push_back(static_cast<float>(x));
  return simt::in_every_order("mla_backward", [&] {
    const MlaArrays arrays{c};
    const int heads = c.shape.heads;
    const int wide = c.expanded_dim();
    const simt::DeviceArray<std::uint16_t> device_out("out", std::span<const std::uint16_t>(out));
    const simt::DeviceArray<std::uint16_t> dout("dout", std::span<const std::uint16_t>(c.dout));
    const simt::DeviceArray<float> log_sum_exp("log_sum_exp", std::span<const float>(logs));
    const simt::DeviceArray<float> dots("dots", logs.size());
    const simt::DeviceArray<float> dq("dq", c.q.size());
    const simt::DeviceArray<float> dexpanded("dexpanded", c.expanded.size());
    const simt::DeviceArray<float> dk_rope("dk_rope", c.key_rows() * whole(c.shape.rope_dim));
    const simt::DeviceArray<float> sum("sum", c.k_rope.size());
    const int value = c.shape.value_dim;
    mla_backward({arrays.operands(),
                  {device_out.data(), heads * value, value},
                  {dout.data(), heads * value, value},
                  log_sum_exp.data(),
                  dots.data(),
                  {dq.data(), heads * c.query_dim(), c.query_dim()},
                  {dexpanded.data(), heads * wide, wide},
                  {dk_rope.data(), heads * c.shape.rope_dim, c.shape.rope_dim},
                  {dexpanded.data() + c.shape.nope_dim, heads * wide, wide}},
                 version);
    sum_heads(dk_rope.data(), static_cast<int>(c.key_tokens()), heads, c.shape.rope_dim, sum.data(), version);
    std::vector<float> all;
    for (const auto* array : {&dq, &dexpanded, &dk_rope, &sum}) append(all, array->download());
    return all;
  });
}

// Bounds of |kernel - exact| as derived at compare_backward(), [rows, width] of each gradient.
struct GradientBounds {
  std::vector<double> dq;
  std::vector<double> dk;
  std::vector<double> dv;
};

constexpr double kUnit = 0x1p-23;  // an addition in FP32, truncating as a tensor core may

double norm(const double* x, int count) {
  double squares = 0;
  for (int i = 0; i < count; ++i) squares += x[i] * x[i];
  return std::sqrt(squares);
}

// How far a score times scale may be off, twice: against log_sum_exp, and as its own rounding in the exponent.
double score_error(const MlaCase& c, const double* q, const double* k) {
  const double product = norm(q, c.query_dim()) * norm(k, c.query_dim()) * static_cast<double>(c.shape.scale);
  return (c.query_dim() + 4) * kUnit * product + 16 * kUnit;
}

// With `rounding` the relative error of a weight on its way to a product: 2^-8 for the 8 bits of BF16, 0 for none.
//   p   is off by (e_s + 2^-20) p: e_s that of its score, 2^-20 of expf and the subtraction of log_sum_exp
//   ds  by p scale (v kUnit sum |dout v| + v kUnit sum |dout out|) + |ds| (e_s + 2^-20)
// and what is summed n times is off by the errors of its terms, by `rounding` of each, and by n kUnit of their sum.
GradientBounds bound_gradients(const MlaCase& c, const MlaReference& r, double rounding) {
  GradientBounds bounds{std::vector<double>(c.q.size()), std::vector<double>(c.key_rows() * whole(c.query_dim())),
                        std::vector<double>(c.key_rows() * whole(c.shape.value_dim))};
  const int width = c.query_dim();
  const int v_dim = c.shape.value_dim;
  const auto scale = static_cast<double>(c.shape.scale);
  const double sums = rounding + (c.shape.keys + 4) * kUnit;
  for (int s = 0; s < c.shape.sequences; ++s)
    for (int i = 0; i < c.shape.queries; ++i)
      for (int h = 0; h < c.shape.heads; ++h) {
        const std::int64_t row = (std::int64_t{s} * c.shape.queries + i) * c.shape.heads + h;
        const double* const q = r.q.values<double>().data() + row * width;
        const double* const dout = r.dout.values<double>().data() + row * v_dim;
        const double* const out = r.kept.out.values<double>().data() + row * v_dim;
        const int end = c.shape.causal ? c.shape.keys - c.shape.queries + i + 1 : c.shape.keys;
        for (int j = 0; j < end; ++j) {
          const std::int64_t other = (std::int64_t{s} * c.shape.keys + j) * c.shape.heads + h;
          const double* const k = r.k.values<double>().data() + other * width;
          const double* const v = r.v.values<double>().data() + other * v_dim;
          double score = 0;
          double slope = 0;
          double magnitude = 0;
          for (int x = 0; x < width; ++x) score += q[x] * k[x];
          for (int x = 0; x < v_dim; ++x) {
            slope += dout[x] * (v[x] - out[x]);
            magnitude += std::abs(dout[x] * v[x]) + std::abs(dout[x] * out[x]);
          }
          const double p = std::exp(score * scale - r.kept.log_sum_exp.values<double>()[whole(row)]);
          const double off = score_error(c, q, k) + 0x1p-20;
          const double ds = std::abs(p * slope * scale);
          const double ds_off = p * scale * (v_dim + 4) * kUnit * magnitude + ds * (off + sums);
          for (int x = 0; x < width; ++x) {
            bounds.dq[whole(row * width + x)] += ds_off * std::abs(k[x]);
            bounds.dk[whole(other * width + x)] += ds_off * std::abs(q[x]);
          }
          for (int x = 0; x < v_dim; ++x) bounds.dv[whole(other * v_dim + x)] += p * (off + sums) * std::abs(dout[x]);
        }
      }
  return bounds;
}

// A bound is worth something where it is small beside what it bounds.
void expect_within(const char* name, std::span<const double> expected, std::span<const double> bounds,
                   const std::vector<double>& result, double share) {
  ASSERT_EQ(expected.size(), result.size());
  double largest = 0;
  double largest_bound = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_LE(std::abs(result[i] - expected[i]), bounds[i])
        << name << " " << i << ": " << result[i] << ", expected " << expected[i];
    largest = std::max(largest, std::abs(expected[i]));
    largest_bound = std::max(largest_bound, bounds[i]);
  }
  EXPECT_LT(largest_bound, share * largest) << name;
}

void compare_backward(const MlaCase& c, Version version) {
  const MlaReference reference(c);
  const std::vector<float> all = run_backward(c, reference, version);
  const ops::AttentionGrads grads =
      ops::attention_core_backward(reference.dout, reference.q, reference.k, reference.v, reference.kept,
                                   static_cast<double>(c.shape.scale), reference.mask);
  const GradientBounds bounds = bound_gradients(c, reference, version == Version::kTuned ? 0x1p-8 : 0);
  const auto nope = whole(c.shape.nope_dim);
  const auto rope = whole(c.shape.rope_dim);
  const auto value = whole(c.shape.value_dim);
  const float* const dexpanded = all.data() + c.q.size();
  const float* const dk_rope = dexpanded + c.expanded.size();
  std::vector<double> dk;
  std::vector<double> dv;
  for (std::size_t row = 0; row < c.key_rows(); ++row) {
    for (std::size_t i = 0; i < nope; ++i) dk.push_back(static_cast<double>(dexpanded[row * (nope + value) + i]));
    for (std::size_t i = 0; i < rope; ++i) dk.push_back(static_cast<double>(dk_rope[row * rope + i]));
    for (std::size_t i = nope; i < nope + value; ++i)
      dv.push_back(static_cast<double>(dexpanded[row * (nope + value) + i]));
  }
  const double share = version == Version::kTuned ? 0.02 : 0.001;
  expect_within("dq", grads.dq.values<double>(), bounds.dq,
                {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(c.q.size())}, share);
  expect_within("dk", grads.dk.values<double>(), bounds.dk, dk, share);
  expect_within("dv", grads.dv.values<double>(), bounds.dv, dv, share);
  const float* const sum = dk_rope + c.key_rows() * rope;
  for (std::size_t i = 0; i < c.k_rope.size(); ++i) {
    float expected = 0;
    for (std::size_t h = 0; h < whole(c.shape.heads); ++h)
      expected += dk_rope[(i / rope * whole(c.shape.heads) + h) * rope + i % rope];
    ASSERT_EQ(sum[i], expected) << "sum over heads, element " << i;
  }
}

// As for gradients: a weight is off by e_s against another, and by `rounding`; the quotient by twice the sums' error.
void compare_forward(const MlaCase& c, Version version) {
  const MlaReference r(c);
  const std::vector<float> all = run_forward(c, version);
  Tensor magnitudes = r.v.clone();
  for (double& x : magnitudes.mutable_values<double>()) x = std::abs(x);
  const ops::AttentionResult sizes =
      ops::attention_core(r.q, r.k, magnitudes, static_cast<double>(c.shape.scale), r.mask);
  double off = 0;
  for (std::size_t i = 0; i < c.query_rows(); ++i)
    for (std::size_t j = 0; j < c.key_rows(); ++j)
      off = std::max(off, score_error(c, r.q.values<double>().data() + i * whole(c.query_dim()),
                                      r.k.values<double>().data() + j * whole(c.query_dim())));
  const double weights = (version == Version::kTuned ? 0x1p-8 : 0) + 2 * (off + 0x1p-20 + c.shape.keys * kUnit);
  std::vector<double> bounds;
  const auto out = r.exact.out.values<double>();
  for (std::size_t i = 0; i < out.size(); ++i)
    bounds.push_back(weights * sizes.out.values<double>()[i] * (1 + 0x1p-8) + std::abs(out[i]) * 0x1p-8);
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(out.size());
  expect_within("out", out, bounds, {all.begin(), end}, 0.02);
  const auto logs = r.exact.log_sum_exp.values<double>();
  bounds.clear();
  for (const double x : logs) bounds.push_back(2 * (off + 0x1p-20 + c.shape.keys * kUnit) + std::abs(x) * kUnit);
  expect_within("log_sum_exp", logs, bounds, {end, all.end()}, 0.001);
}

TEST(Mla, PrefillIsWithinItsBound) {
  for (const MlaCase& c : all_cases())
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      SCOPED_TRACE(::testing::Message() << c.query_dim() << (version == Version::kTuned ? ", tuned" : ", v0"));
      compare_forward(c, version);
    }
}

TEST(Mla, GradientsAreWithinTheirBounds) {
  for (const MlaCase& c : all_cases())
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      SCOPED_TRACE(::testing::Message() << c.query_dim() << (version == Version::kTuned ? ", tuned" : ", v0"));
      compare_backward(c, version);
    }
}

TEST(Mla, HeadsBeyondTheTunedKernelsAreBadInput) {
  const MlaCase c = make_case({1, 1, 2, 1, 140, 64, 130, 0, true});
  EXPECT_THROW((void)run_forward(c, Version::kTuned), core::Error);
  EXPECT_THROW((void)run_backward(c, MlaReference(c), Version::kTuned), core::Error);
  compare_forward(c, Version::kObvious);
  compare_backward(c, Version::kObvious);
}

}  // namespace
}  // namespace lastbit::kernels
