#include "numerics/gemm_cases.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <tuple>

#include "numerics/vector_target.h"

namespace lastbit::numerics::testing {
namespace {

// Codes of a matrix as `transposed` says it lies in memory.
std::vector<std::byte> stored(std::vector<std::byte> codes, Format format, check::MatrixShape shape, bool transposed) {
  if (!transposed) return codes;
  const auto width = static_cast<std::size_t>(describe(format).storage_bytes);
  std::vector<std::byte> turned(codes.size());
  for (std::int64_t row = 0; row < shape.rows; ++row)
    for (std::int64_t col = 0; col < shape.cols; ++col)
      std::memcpy(turned.data() + static_cast<std::size_t>(col * shape.rows + row) * width,
                  codes.data() + static_cast<std::size_t>(row * shape.cols + col) * width, width);
  return turned;
}

}  // namespace

std::int64_t mismatches(const Case& test, std::int64_t& outputs) {
  const auto [m, n, k] = std::tuple(test.m, test.n, test.k);
  const auto draw = [&](Format format, check::MatrixShape shape, bool transposed, const char* purpose) {
    return stored(check::draw_codes(test.family, format, shape, test.seed, purpose), format, shape, transposed);
  };
  const std::vector<std::byte> a = draw(test.rule.a, {m, k}, test.transposed_a, "a");
  const std::vector<std::byte> b = draw(test.rule.b, {n, k}, test.transposed_b, "b");
  const ScaleTile tile_a{1, 128};
  const ScaleTile tile_b{128, 128};
  const CodeMatrix matrix_a{test.rule.a, m, k, a, test.transposed_a};
  const CodeMatrix matrix_b{test.rule.b, n, k, b, test.transposed_b};
  GemmOperands operands{matrix_a, matrix_b, {}, {}, tile_a, tile_b};
  const ScaleShape shape_a = scale_shape(matrix_a, tile_a);
  const ScaleShape shape_b = scale_shape(matrix_b, tile_b);
  const std::vector<float> scale_a = check::draw_scales(shape_a.rows * shape_a.columns, test.seed, "scale a");
  const std::vector<float> scale_b = check::draw_scales(shape_b.rows * shape_b.columns, test.seed, "scale b");
  if (test.promotion.order != PromotionOrder::kNone) {
    operands.scale_a = scale_a;
    operands.scale_b = scale_b;
  }
  std::vector<float> expected(static_cast<std::size_t>(m * n), -1.0F);
  gemm_plain(test.rule, operands, test.promotion, expected);
  std::int64_t wrong = 0;
  for (const std::string& target : vector_targets()) {
    use_vector_target(target);
    std::vector<float> d(static_cast<std::size_t>(m * n), -2.0F);
    gemm(test.rule, operands, test.promotion, d);
    outputs += m * n;
    for (std::size_t i = 0; i < d.size(); ++i) {
      if (std::bit_cast<std::uint32_t>(d[i]) == std::bit_cast<std::uint32_t>(expected[i])) continue;
      if (wrong++ == 0)
        ADD_FAILURE() << target << ", family " << check::to_string(test.family) << ", " << m << " x " << n << " x " << k
                      << ": output " << i << " is " << d[i] << ", expected " << expected[i];
    }
  }
  use_vector_target("");
  return wrong;
}

}  // namespace lastbit::numerics::testing
