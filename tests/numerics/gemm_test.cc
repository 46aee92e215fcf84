#include "numerics/gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/philox.h"
#include "numerics/units.h"

namespace lastbit::numerics {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Random finite E4M3 codes, [rows, cols].
std::vector<std::byte> random_codes(std::int64_t rows, std::int64_t cols, const char* purpose) {
  const core::RandomStream stream(7, purpose);
  std::vector<std::byte> codes;
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const std::uint32_t word = stream.word(static_cast<std::uint64_t>(i));
    codes.push_back(static_cast<std::byte>((word & 0x80U) | (word >> 8) % 0x7f));
  }
  return codes;
}

std::vector<float> random_scales(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(8, purpose);
  std::vector<float> scales;
  for (std::int64_t i = 0; i < count; ++i) scales.push_back(0.001F + stream.uniform(static_cast<std::uint64_t>(i)));
  return scales;
}

struct Problem {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  std::vector<std::byte> a = random_codes(m, k, "a");
  std::vector<std::byte> b = random_codes(n, k, "b");
  std::vector<float> scale_a = random_scales(m * ((k + 127) / 128), "scale a");
  std::vector<float> scale_b = random_scales((n + 127) / 128 * ((k + 127) / 128), "scale b");

  [[nodiscard]] GemmOperands operands(bool scaled) const {
    GemmOperands result{{Format::kE4M3, m, k, a}, {Format::kE4M3, n, k, b}, {}, {}};
    if (scaled) {
      result.scale_a = scale_a;
      result.scale_b = scale_b;
    }
    return result;
  }
};

const MmaRule& hopper() {
  static const MmaRule rule = rule_of(find_unit("hopper_wgmma"), Format::kE4M3, Format::kE4M3, Format::kF32);
  return rule;
}

std::vector<float> multiply(const Problem& problem, Promotion promotion, bool scaled) {
  std::vector<float> d(static_cast<std::size_t>(problem.m * problem.n), -1.0F);
  gemm(hopper(), problem.operands(scaled), promotion, d);
  return d;
}

// Elements [from, from + count) of K of one output as one record of mma().
float one_dot(const Problem& problem, std::int64_t i, std::int64_t j, std::int64_t from, std::int64_t count) {
  const auto length = static_cast<std::size_t>(count);
  const std::span a = std::span(problem.a).subspan(static_cast<std::size_t>(i * problem.k + from), length);
  const std::span b = std::span(problem.b).subspan(static_cast<std::size_t>(j * problem.k + from), length);
  std::uint32_t d = 0;
  mma(hopper(), {Format::kE4M3, 1, count, a}, {Format::kE4M3, 1, count, b}, {}, {&d, 1});
  return std::bit_cast<float>(d);
}

// A promoted output written out in the order of the header.
float one_promoted(const Problem& problem, Promotion promotion, bool scaled, std::int64_t i, std::int64_t j) {
  float y = 0;
  for (std::int64_t k = 0; k < problem.k; k += promotion.every) {
    const float partial = one_dot(problem, i, j, k, std::min(promotion.every, problem.k - k));
    const std::int64_t columns = (problem.k + 127) / 128;
    const float sa = scaled ? problem.scale_a[static_cast<std::size_t>(i * columns + k / 128)] : 1.0F;
    const float sb = scaled ? problem.scale_b[static_cast<std::size_t>(j / 128 * columns + k / 128)] : 1.0F;
    if (promotion.order == PromotionOrder::kDeepgemm) {
      y = std::fma(partial, sa * sb, y);
    } else if (promotion.order == PromotionOrder::kCublas) {
      y = std::fma(partial * sa, sb, y);
    } else {
      const float product = partial * (sa * sb);
      y = y + product;
    }
  }
  return y;
}

TEST(Gemm, ChainsStepsForAnySizes) {
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {3, 5, 33}, {33, 65, 96}, {2, 130, 257}, {40, 70, 600}, {4, 4, 0}, {0, 3, 64}, {3, 0, 64}}) {
    const Problem problem{m, n, k};
    const std::vector<float> d = multiply(problem, {}, false);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(d[static_cast<std::size_t>(i * n + j)]),
                  std::bit_cast<std::uint32_t>(k == 0 ? 0.0F : one_dot(problem, i, j, 0, k)))
            << m << "x" << n << "x" << k << " at " << i << ", " << j;
  }
}

TEST(Gemm, PromotesInThreeOrders) {
  for (const auto& [m, n, k] :
       std::vector<std::array<std::int64_t, 3>>{{3, 131, 384}, {2, 2, 129}, {5, 3, 300}, {1, 1, 1}, {2, 2, 0}}) {
    const Problem problem{m, n, k};
    for (const PromotionOrder order : {PromotionOrder::kDeepgemm, PromotionOrder::kCublas, PromotionOrder::kMuladd})
      for (const std::int64_t every : {32, 64, 128}) {
        const std::vector<float> d = multiply(problem, {order, every}, true);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j)
            ASSERT_EQ(d[static_cast<std::size_t>(i * n + j)], one_promoted(problem, {order, every}, true, i, j));
      }
  }
}

TEST(Gemm, PromotesWithoutScalesAtAnyInterval) {
  const Problem problem{3, 4, 1000};
  for (const std::int64_t every : {32, 96, 160, 512, 2048}) {
    const Promotion promotion{PromotionOrder::kDeepgemm, every};
    const std::vector<float> d = multiply(problem, promotion, false);
    for (std::int64_t i = 0; i < 12; ++i)
      ASSERT_EQ(d[static_cast<std::size_t>(i)], one_promoted(problem, promotion, false, i / 4, i % 4)) << every;
  }
}

TEST(Gemm, TheOrdersDifferInBits) {
  const Problem problem{16, 16, 512};
  const std::vector<float> deepgemm = multiply(problem, {PromotionOrder::kDeepgemm, 128}, true);
  EXPECT_NE(deepgemm, multiply(problem, {PromotionOrder::kCublas, 128}, true));
  EXPECT_NE(deepgemm, multiply(problem, {PromotionOrder::kMuladd, 128}, true));
}

TEST(Gemm, LongIntervalsWantOneScale) {
  Problem problem{2, 2, 512};
  const Promotion promotion{PromotionOrder::kDeepgemm, 256};
  EXPECT_THROW(static_cast<void>(multiply(problem, promotion, true)), core::Error);
  problem.scale_a.assign(problem.scale_a.size(), 0.5F);
  problem.scale_b.assign(problem.scale_b.size(), 0.25F);
  EXPECT_EQ(multiply(problem, promotion, true)[0], one_promoted(problem, promotion, true, 0, 0));
}

TEST(Gemm, RefusesWhatHasNoMeaning) {
  const Problem problem{2, 2, 256};
  EXPECT_THROW(static_cast<void>(multiply(problem, {}, true)), core::Error);  // scales, and nothing promoted
  for (const std::int64_t every : {0, -128, 48})
    EXPECT_THROW(static_cast<void>(multiply(problem, {PromotionOrder::kDeepgemm, every}, false)), core::Error);
  EXPECT_THROW(static_cast<void>(multiply(problem, {PromotionOrder::kDeepgemm, 96}, true)), core::Error);
  EXPECT_THROW(static_cast<void>(find_promotion("deepgem")), core::Error);
}

TEST(Gemm, NanOfTheRegisterIsCanonical) {
  const Problem base{1, 1, 256};
  Problem problem = base;
  problem.a[3] = std::byte{0x7f};  // NaN in the first block travels through the second promotion
  for (const PromotionOrder order : {PromotionOrder::kDeepgemm, PromotionOrder::kCublas, PromotionOrder::kMuladd})
    EXPECT_EQ(std::bit_cast<std::uint32_t>(multiply(problem, {order, 128}, true)[0]), 0x7fffffffU);
}

TEST(RequireUsableScales, NamesTheCoordinates) {
  const std::vector<float> fine{1, 2, 3, 4};
  EXPECT_NO_THROW(require_usable_scales(fine, 2, "s.npy"));
  for (const float bad : {std::nanf(""), kInf, 0.0F, -1.0F}) {
    std::vector<float> scales = fine;
    scales[3] = bad;
    try {
      require_usable_scales(scales, 2, "s.npy");
      FAIL() << bad;
    } catch (const core::Error& error) {
      EXPECT_NE(std::string(error.what()).find("s.npy: the scale at [1, 1]"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace lastbit::numerics
