// The products of linear layers have the bits of numerics/matmul.h (FP32) and of unit ampere_mma (BF16), in every role,
// dense and by groups of rows.
#include "kernels/gemm/linear_gemm.h"

#include <gtest/gtest.h>

#include "core/philox.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"
#include "numerics/bf16.h"
#include "numerics/gemm.h"
#include "numerics/matmul.h"
#include "numerics/units.h"

namespace lastbit::kernels {
namespace {

struct ProductCase {
  GemmRole role;
  int m;
  int n;
  int k;
  std::vector<std::int64_t> offsets;  // none: no groups
  bool bf16_output;
  bool accumulate;

  [[nodiscard]] int groups() const { return offsets.empty() ? 1 : static_cast<int>(offsets.size()) - 1; }
  [[nodiscard]] std::size_t weights() const { return role == GemmRole::kTn ? 1 : static_cast<std::size_t>(groups()); }
  [[nodiscard]] std::size_t size_a() const { return static_cast<std::size_t>(m) * static_cast<std::size_t>(k); }
  [[nodiscard]] std::size_t size_b() const {
    return weights() * static_cast<std::size_t>(n) * static_cast<std::size_t>(k);
  }
  [[nodiscard]] std::size_t size_d() const {
    const int each = role == GemmRole::kTn ? groups() : 1;
    return static_cast<std::size_t>(each) * static_cast<std::size_t>(m) * static_cast<std::size_t>(n);
  }
};

// Values of BF16, so that both types have them; some are zeros of either sign.
std::vector<float> draw_bf16_values(std::size_t count, const std::string& name) {
  const core::RandomStream stream(11, name);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    const float u = stream.uniform(i);
    values.push_back(u < 0.05F ? (u < 0.025F ? 0.0F : -0.0F) : numerics::round_bf16(4 * u - 2));
  }
  return values;
}

std::vector<std::uint16_t> codes_of(const std::vector<float>& values) {
  std::vector<std::uint16_t> codes;
  for (const float value : values) codes.push_back(numerics::bf16_code(value));
  return codes;
}

// One dense product of the reference: `a` and `b` are the first elements of the operands, rows their number.
using Reference = void (*)(const ProductCase& product, const float* a, const float* b, int m, int k, float* d);

void reference_fp32(const ProductCase& product, const float* a, const float* b, int m, int k, float* d) {
  const bool tn = product.role == GemmRole::kTn;
  const bool nt = product.role == GemmRole::kNt;
  numerics::matmul_plain(numerics::MatmulProblem<float>{
      {a, m, k, tn ? m : k, tn}, {b, k, product.n, nt ? k : product.n, nt}, d, product.n, product.accumulate});
}

// With the transposed operands written out: numerics::gemm takes [M, K] and [N, K].
void reference_bf16(const ProductCase& product, const float* a, const float* b, int m, int k, float* d) {
  const auto rows = static_cast<std::size_t>(m);
  const auto cols = static_cast<std::size_t>(product.n);
  const auto depth = static_cast<std::size_t>(k);
  std::vector<std::uint16_t> left(rows * depth);
  std::vector<std::uint16_t> right(cols * depth);
  for (std::size_t c = 0; c < depth; ++c) {
    for (std::size_t i = 0; i < rows; ++i)
      left[i * depth + c] = numerics::bf16_code(product.role == GemmRole::kTn ? a[c * rows + i] : a[i * depth + c]);
    for (std::size_t j = 0; j < cols; ++j)
      right[j * depth + c] = numerics::bf16_code(product.role == GemmRole::kNt ? b[j * depth + c] : b[c * cols + j]);
  }
  const numerics::Format bf16 = numerics::Format::kBF16;
  const numerics::MmaRule rule =
      numerics::rule_of(numerics::find_unit("ampere_mma"), bf16, bf16, numerics::Format::kF32);
  const numerics::GemmOutput output{numerics::Format::kF32, std::as_writable_bytes(std::span(d, rows * cols)),
                                    product.accumulate};
  const numerics::GemmOperands operands{
      {bf16, m, k, std::as_bytes(std::span(left))}, {bf16, product.n, k, std::as_bytes(std::span(right))}, {}, {}};
  numerics::gemm(rule, operands, {}, output);
}

std::vector<float> expected_product(const ProductCase& product, const std::vector<float>& a,
                                    const std::vector<float>& b, std::vector<float> d, Reference reference) {
  std::vector<std::int64_t> offsets = product.offsets;
  const bool tn = product.role == GemmRole::kTn;
  const int all = tn ? product.k : product.m;
  if (offsets.empty()) offsets = {0, all};
  const auto n = static_cast<std::size_t>(product.n);
  const auto m = static_cast<std::size_t>(product.m);
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    const auto first = static_cast<std::size_t>(offsets[g]);
    const auto rows = static_cast<int>(offsets[g + 1] - offsets[g]);
    if (tn)
      reference(product, a.data() + first * m, b.data() + first * n, product.m, rows, d.data() + g * m * n);
    else
      reference(product, a.data() + first * static_cast<std::size_t>(product.k),
                b.data() + g * n * static_cast<std::size_t>(product.k), rows, product.k, d.data() + first * n);
  }
  if (!tn && offsets.back() < all)  // the rows of none, as sums of no terms
    reference(product, a.data(), b.data(), all - static_cast<int>(offsets.back()), 0,
              d.data() + static_cast<std::size_t>(offsets.back()) * n);
  if (product.bf16_output)
    for (float& value : d) value = numerics::round_bf16(value);
  return d;
}

template <typename T>
std::vector<float> run_product(const ProductCase& product, const std::vector<T>& a, const std::vector<T>& b,
                               const std::vector<float>& d,
                               void (*function)(const LinearGemm<T>& gemm, Version version), Version version) {
  return simt::in_every_order("linear_gemm", [&] {
    const simt::DeviceArray<T> device_a("a", std::span<const T>(a));
    const simt::DeviceArray<T> device_b("b", std::span<const T>(b));
    const simt::DeviceArray<std::int64_t> offsets("offsets", std::span<const std::int64_t>(product.offsets));
    const std::vector<std::uint16_t> codes = codes_of(d);
    const auto make = [&](const auto& before) {
      using Element = typename std::decay_t<decltype(before)>::value_type;
      return product.accumulate ? simt::DeviceArray<Element>("d", std::span<const Element>(before))
                                : simt::DeviceArray<Element>("d", before.size());
    };
    const simt::DeviceArray<std::uint16_t> bf16 = make(codes);
    const simt::DeviceArray<float> fp32 = make(d);
    void* const out = product.bf16_output ? static_cast<void*>(bf16.data()) : fp32.data();
    function({device_a.data(), device_b.data(), out, product.m, product.n, product.k, product.role, product.bf16_output,
              product.accumulate, product.offsets.empty() ? nullptr : offsets.data(), product.groups()},
             version);
    if (!product.bf16_output) return fp32.download();
    std::vector<float> values;
    for (const std::uint16_t code : bf16.download()) values.push_back(numerics::bf16_value(code));
    return values;
  });
}

const std::vector<ProductCase>& product_cases() {
  using enum GemmRole;
  static const std::vector<ProductCase> all{
      {kNt, 1, 1, 1, {}, false, false},
      {kNt, 37, 70, 275, {}, false, false},
      {kNn, 37, 70, 275, {}, false, true},
      {kTn, 37, 70, 275, {}, false, true},
      {kNt, 5, 9, 0, {}, false, false},
      {kNt, 40, 24, 40, {0, 3, 3, 36, 38}, true, false},  // rows 38 and 39 are nobody's
      {kNn, 40, 24, 40, {0, 3, 3, 36, 38}, true, true},
      {kTn, 24, 33, 40, {0, 3, 3, 36, 38}, false, true},
      {kTn, 24, 33, 40, {0, 3, 3, 36, 38}, true, false},
  };
  return all;
}

template <typename T>
void compare_products(std::vector<T> (*convert)(const std::vector<float>& values),
                      void (*function)(const LinearGemm<T>& gemm, Version version), Reference reference) {
  for (const ProductCase& product : product_cases()) {
    const std::vector<float> a = draw_bf16_values(product.size_a(), "a");
    const std::vector<float> b = draw_bf16_values(product.size_b(), "b");
    const std::vector<float> d = draw_bf16_values(product.size_d(), "d");
    const std::vector<float> expected = expected_product(product, a, b, d, reference);
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      const std::vector<float> result = run_product<T>(product, convert(a), convert(b), d, function, version);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(result[i]), std::bit_cast<std::uint32_t>(expected[i]))
            << "case " << &product - product_cases().data() << ", element " << i
            << (version == Version::kTuned ? ", tuned" : ", v0");
    }
  }
}

TEST(LinearGemm, Fp32HasTheBitsOfMatmul) {
  compare_products<float>([](const std::vector<float>& values) -> std::vector<float> { return values; }, fp32_gemm,
                          reference_fp32);
}

TEST(LinearGemm, Bf16HasTheBitsOfTheTensorCore) {
  compare_products<std::uint16_t>(
      [](const std::vector<float>& values) -> std::vector<std::uint16_t> { return codes_of(values); }, bf16_gemm,
      reference_bf16);
}

}  // namespace
}  // namespace lastbit::kernels
