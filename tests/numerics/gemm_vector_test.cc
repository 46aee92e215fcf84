// The vectorised GEMM against the plain one: no bit may differ, on any instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/gemm.h"
#include "numerics/units.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

// Families of exponents and signs that stress the rule, each by name.
enum class Family : std::uint8_t {
  kAllCodes,    // every finite code alike: all exponents, many truncations
  kGaussian,    // sums of uniform numbers
  kOnePeak,     // one large element among small ones
  kCancelling,  // pairs of equal products of opposite sign
  kSparse,      // nine of ten are zeros of either sign
  kSubnormal,   // the smallest numbers of the format
  kConstant,    // one magnitude, random signs: every product on the grid
  kSpecials,    // now and then an Inf or a NaN, where the format has one
};
constexpr Family kFamilies[] = {Family::kAllCodes, Family::kGaussian,  Family::kOnePeak,  Family::kCancelling,
                                Family::kSparse,   Family::kSubnormal, Family::kConstant, Family::kSpecials};

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
                             const std::string& purpose) {
  const core::RandomStream stream(static_cast<std::uint64_t>(family), purpose);
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

struct Shape {
  std::int64_t m, n, k;
};

std::vector<float> random_scales(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(8, purpose);
  std::vector<float> scales;
  for (std::int64_t i = 0; i < count; ++i) scales.push_back(0.001F + stream.uniform(static_cast<std::uint64_t>(i)));
  return scales;
}

struct Case {
  MmaRule rule;
  Shape shape;
  Family family;
  Promotion promotion;
  bool transposed_a = false;
  bool transposed_b = false;
};

// The number of outputs in which some target differs from the plain path; `outputs` counts those compared.
std::int64_t mismatches(const Case& test, std::int64_t& outputs) {
  const auto [m, n, k] = test.shape;
  const std::vector<std::byte> a = codes(test.family, test.rule.a, m, k, test.transposed_a, "a");
  const std::vector<std::byte> b = codes(test.family, test.rule.b, n, k, test.transposed_b, "b");
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

struct Kind {
  const char* unit;
  Format a;
  Format b;
};
// Every rule that is vectorised, and the types that it takes.
constexpr Kind kKinds[] = {
    {"hopper_wgmma", Format::kE4M3, Format::kE4M3},      {"hopper_wgmma", Format::kE4M3, Format::kE5M2},
    {"hopper_wgmma", Format::kE5M2, Format::kE5M2},      {"ada_mma", Format::kE5M2, Format::kE4M3},
    {"hopper_wgmma", Format::kBF16, Format::kBF16},      {"hopper_wgmma", Format::kF16, Format::kF16},
    {"hopper_wgmma", Format::kTF32, Format::kTF32},      {"ampere_mma", Format::kBF16, Format::kBF16},
    {"ampere_mma", Format::kTF32, Format::kTF32},        {"turing_mma", Format::kF16, Format::kF16},
    {"volta_mma", Format::kF16, Format::kF16},           {"blackwell_tcgen05", Format::kE4M3, Format::kE5M2},
    {"blackwell_tcgen05", Format::kE5M2, Format::kE5M2},
};

TEST(GemmVector, SameBitsAsThePlainPathForEveryRuleAndFamily) {
  std::int64_t outputs = 0;
  for (const Kind& kind : kKinds) {
    const MmaRule rule = rule_of(find_unit(kind.unit), kind.a, kind.b, Format::kF32);
    for (const Family family : kFamilies) {
      for (const PromotionOrder order :
           {PromotionOrder::kNone, PromotionOrder::kDeepgemm, PromotionOrder::kCublas, PromotionOrder::kMuladd})
        EXPECT_EQ(mismatches({rule, {37, 71, 300}, family, {order, 128}}, outputs), 0)
            << kind.unit << " " << name(kind.a) << " " << name(kind.b) << " order " << static_cast<int>(order);
    }
  }
  RecordProperty("outputs", std::to_string(outputs));
}

TEST(GemmVector, SameBitsAroundEveryBlockSize) {
  std::int64_t outputs = 0;
  const MmaRule rule = rule_of(find_unit("hopper_wgmma"), Format::kE4M3, Format::kE4M3, Format::kF32);
  for (const std::int64_t m : {0, 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65})
    for (const std::int64_t n : {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257})
      EXPECT_EQ(mismatches({rule, {m, n, 40}, Family::kAllCodes, {}}, outputs), 0);
  for (std::int64_t k = 0; k < 2 * 32 + 2; ++k)
    EXPECT_EQ(mismatches({rule, {5, 20, k}, Family::kAllCodes, {}}, outputs), 0);
  for (const std::int64_t k : {127, 128, 129, 255, 256, 257, 1000})
    for (const std::int64_t every : {32, 64, 128})
      EXPECT_EQ(mismatches({rule, {5, 20, k}, Family::kAllCodes, {PromotionOrder::kDeepgemm, every}}, outputs), 0);
}

TEST(GemmVector, SameBitsInEveryStorageOrder) {
  std::int64_t outputs = 0;
  for (const Format format : {Format::kE4M3, Format::kBF16})
    for (const bool a : {false, true})
      for (const bool b : {false, true}) {
        const MmaRule rule = rule_of(find_unit("hopper_wgmma"), format, format, Format::kF32);
        EXPECT_EQ(mismatches({rule, {45, 70, 200}, Family::kAllCodes, {PromotionOrder::kDeepgemm, 128}, a, b}, outputs),
                  0);
      }
}

}  // namespace
}  // namespace lastbit::numerics
