#include "numerics/gemm_cases.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <tuple>

#include "core/philox.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics::testing {
namespace {

std::uint32_t draw(Family family, Format format, std::int64_t k, const std::uint32_t (&word)[2]) {
  const FormatDescriptor& d = describe(format);
  const std::uint32_t sign = (word[0] & 1) != 0 ? d.sign_code() : 0;
  const std::uint32_t any = word[1] % (d.max_finite_code() + 1);
  const auto one = static_cast<std::uint32_t>(d.bias) << d.fraction_bits;
  const std::uint32_t fraction = word[1] & ((1u << d.fraction_bits) - 1);
  const auto code = [&]() -> std::uint32_t {
    switch (family) {
      case Family::kAllCodes:
        return sign | any;
      case Family::kGaussian: {
        float sum = -2;
        for (int i = 0; i < 4; ++i) sum += static_cast<float>(word[1] >> (8 * i) & 0xff) / 256;
        return encode(sum, format, default_encode_options(format)) >> d.code_shift;
      }
      case Family::kOnePeak:
        return sign | (k % 29 == 7 ? one + fraction + (4u << d.fraction_bits) : fraction + (2u << d.fraction_bits));
      case Family::kCancelling:
        return (k % 2 != 0 ? d.sign_code() : 0) | (one + (word[0] >> 4 & 3));
      case Family::kSparse:
        return word[0] % 10 != 0 ? sign : sign | any;
      case Family::kSubnormal:
        return sign | (word[1] % (2u << d.fraction_bits));
      case Family::kConstant:
        return sign | one;
      case Family::kSpecials:
        return sign | (word[0] % 997 == 0 ? d.max_finite_code() + 1 : one + fraction);
    }
    return 0;
  };
  return code() << d.code_shift;
}

std::vector<std::byte> codes(Family family, Format format, std::int64_t rows, std::int64_t cols, bool transposed,
                             std::uint64_t seed, const std::string& purpose) {
  const core::RandomStream stream(seed, purpose, static_cast<std::uint32_t>(family));
  const auto width = static_cast<std::size_t>(describe(format).storage_bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * cols) * width);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col) {
      const auto at = static_cast<std::uint64_t>(2 * (row * cols + col));
      const std::uint32_t code = draw(family, format, col, {stream.word(at), stream.word(at + 1)});
      const std::int64_t place = transposed ? col * rows + row : row * cols + col;
      std::memcpy(bytes.data() + static_cast<std::size_t>(place) * width, &code, width);
    }
  }
  return bytes;
}

std::vector<float> random_scales(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(8, purpose);
  std::vector<float> scales;
  for (std::int64_t i = 0; i < count; ++i) scales.push_back(0.001F + stream.uniform(static_cast<std::uint64_t>(i)));
  return scales;
}

}  // namespace

std::int64_t mismatches(const Case& test, std::int64_t& outputs) {
  const auto [m, n, k] = std::tuple(test.m, test.n, test.k);
  const std::vector<std::byte> a = codes(test.family, test.rule.a, m, k, test.transposed_a, test.seed, "a");
  const std::vector<std::byte> b = codes(test.family, test.rule.b, n, k, test.transposed_b, test.seed, "b");
  const ScaleTile tile_a{1, 128};
  const ScaleTile tile_b{128, 128};
  const CodeMatrix matrix_a{test.rule.a, m, k, a, test.transposed_a};
  const CodeMatrix matrix_b{test.rule.b, n, k, b, test.transposed_b};
  GemmOperands operands{matrix_a, matrix_b, {}, {}, tile_a, tile_b};
  const ScaleShape shape_a = scale_shape(matrix_a, tile_a);
  const ScaleShape shape_b = scale_shape(matrix_b, tile_b);
  const std::vector<float> scale_a = random_scales(shape_a.rows * shape_a.columns, "scale a");
  const std::vector<float> scale_b = random_scales(shape_b.rows * shape_b.columns, "scale b");
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
        ADD_FAILURE() << target << ", family " << static_cast<int>(test.family) << ", " << m << " x " << n << " x " << k
                      << ": output " << i << " is " << d[i] << ", expected " << expected[i];
    }
  }
  use_vector_target("");
  return wrong;
}

}  // namespace lastbit::numerics::testing
