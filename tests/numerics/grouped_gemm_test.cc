// Grouped GEMM against one GEMM a group; GEMM into other formats, onto C, and under every tiling of scales.
#include "numerics/grouped_gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/units.h"

namespace lastbit::numerics {
namespace {

constexpr Format kFp8 = Format::kE4M3;
constexpr Promotion kPromoted{PromotionOrder::kDeepgemm, 128};

const MmaRule& hopper() {
  static const MmaRule rule = rule_of(find_unit("hopper_wgmma"), kFp8, kFp8, Format::kF32);
  return rule;
}

std::vector<std::byte> random_codes(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(3, purpose);
  std::vector<std::byte> codes;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = stream.word(static_cast<std::uint64_t>(i));
    codes.push_back(static_cast<std::byte>((word & 0x80u) | (word >> 8) % 0x7f));
  }
  return codes;
}

std::vector<float> random_scales(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(4, purpose);
  std::vector<float> scales;
  for (std::int64_t i = 0; i < count; ++i) scales.push_back(0.001F + stream.uniform(static_cast<std::uint64_t>(i)));
  return scales;
}

constexpr std::int64_t kN = 150;
constexpr std::int64_t kK = 300;
constexpr std::int64_t kGroups = 4;
constexpr std::int64_t kColumns = 3;   // of scales
constexpr std::int64_t kRowTiles = 2;  // of scales of one group's weights

struct Experts {
  std::int64_t rows;
  std::vector<std::byte> a = random_codes(rows * kK, "a");
  std::vector<std::byte> b = random_codes(kGroups * kN * kK, "b");
  std::vector<float> scale_a = random_scales(rows * kColumns, "scale a");
  std::vector<float> scale_b = random_scales(kGroups * kRowTiles * kColumns, "scale b");

  [[nodiscard]] CodeMatrix tokens() const { return {kFp8, rows, kK, a}; }
  [[nodiscard]] GroupedWeights weights() const { return {kFp8, kGroups, kN, kK, b, false, scale_b}; }

  // Row `row` through the weights of `group`, alone.
  [[nodiscard]] std::vector<float> one_row(std::int64_t row, std::int64_t group) const {
    GemmOperands operands{
        {kFp8, 1, kK, std::span(a).subspan(static_cast<std::size_t>(row * kK), kK)},
        {kFp8, kN, kK, std::span(b).subspan(static_cast<std::size_t>(group * kN * kK), kN * kK)},
        std::span(scale_a).subspan(static_cast<std::size_t>(row * kColumns), kColumns),
        std::span(scale_b).subspan(static_cast<std::size_t>(group * kRowTiles * kColumns), kRowTiles * kColumns)};
    std::vector<float> d(kN);
    gemm_plain(hopper(), operands, kPromoted, d);
    return d;
  }
};

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(
      a, b, [](float x, float y) { return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y); });
}

std::span<const float> row_of(const std::vector<float>& d, std::int64_t row) {
  return std::span(d).subspan(static_cast<std::size_t>(row * kN), kN);
}

TEST(GroupedGemm, ContiguousRowsMeetTheirGroup) {
  // Runs of all lengths, a group in two runs, a group without rows, padding between.
  std::vector<std::int32_t> groups;
  for (const auto& [count, group] :
       std::vector<std::pair<int, std::int32_t>>{{70, 2}, {1, 0}, {5, -1}, {33, 3}, {2, 2}})
    groups.insert(groups.end(), static_cast<std::size_t>(count), group);
  const Experts experts{static_cast<std::int64_t>(groups.size())};
  std::vector<float> d(groups.size() * kN, -1.0F);
  grouped_gemm_contiguous(hopper(), experts.tokens(), experts.scale_a, kScaleBlock, experts.weights(), groups,
                          kPromoted, {Format::kF32, std::as_writable_bytes(std::span(d))});
  for (std::int64_t row = 0; row < experts.rows; ++row) {
    const std::int32_t group = groups[static_cast<std::size_t>(row)];
    const std::vector<float> expected = group < 0 ? std::vector<float>(kN) : experts.one_row(row, group);
    EXPECT_TRUE(same_bits(row_of(d, row), expected)) << "row " << row;
  }
}

TEST(GroupedGemm, MaskedRowsBeyondTheCountAreZero) {
  constexpr std::int64_t kMost = 40;
  const std::vector<std::int64_t> rows{40, 0, 1, 17};
  const Experts experts{kGroups * kMost};
  std::vector<float> d(static_cast<std::size_t>(experts.rows * kN), -1.0F);
  grouped_gemm_masked(hopper(), experts.tokens(), experts.scale_a, kScaleBlock, experts.weights(), rows, kPromoted,
                      {Format::kF32, std::as_writable_bytes(std::span(d))});
  for (std::int64_t row = 0; row < experts.rows; ++row) {
    const std::int64_t group = row / kMost;
    const bool counts = row % kMost < rows[static_cast<std::size_t>(group)];
    EXPECT_TRUE(same_bits(row_of(d, row), counts ? experts.one_row(row, group) : std::vector<float>(kN)));
  }
}

TEST(GroupedGemm, RefusesGroupsAndCountsThatAreNotThere) {
  const Experts experts{4};
  std::vector<float> d(4 * kN);
  const GemmOutput output{Format::kF32, std::as_writable_bytes(std::span(d))};
  const std::vector<std::int32_t> groups{0, 1, 4, 0};
  EXPECT_THROW(grouped_gemm_contiguous(hopper(), experts.tokens(), experts.scale_a, kScaleBlock, experts.weights(),
                                       groups, kPromoted, output),
               core::Error);
  const std::vector<std::int64_t> rows{1, 1, 2, 1};
  EXPECT_THROW(grouped_gemm_masked(hopper(), experts.tokens(), experts.scale_a, kScaleBlock, experts.weights(), rows,
                                   kPromoted, output),
               core::Error);
}

std::vector<float> plain(const GemmOperands& operands, Promotion promotion) {
  std::vector<float> d(static_cast<std::size_t>(operands.a.rows * operands.b.rows));
  gemm_plain(hopper(), operands, promotion, d);
  return d;
}

TEST(GemmOutput, OtherFormatsAreRoundedOnce) {
  const Experts experts{37};
  const GemmOperands operands{experts.tokens(), {kFp8, kN, kK, std::span(experts.b).first(kN * kK)}, {}, {}};
  const std::vector<float> y = plain(operands, {});
  for (const Format format : {Format::kBF16, Format::kF16}) {
    // One byte beside any alignment.
    std::vector<std::byte> bytes(y.size() * 2 + 1);
    gemm(hopper(), operands, {}, {format, std::span(bytes).subspan(1)});
    for (std::size_t i = 0; i < y.size(); ++i) {
      std::uint16_t code = 0;
      std::memcpy(&code, bytes.data() + 1 + 2 * i, sizeof(code));
      const EncodeOptions options{Rounding::kNearestEven, Overflow::kNone, Convention::kCuda};
      ASSERT_EQ(code, encode(y[i], format, options)) << name(format) << " " << i;
    }
  }
}

TEST(GemmOutput, AccumulatesOntoC) {
  const Experts experts{37};
  const GemmOperands operands{experts.tokens(), {kFp8, kN, kK, std::span(experts.b).first(kN * kK)}, {}, {}};
  const std::vector<float> y = plain(operands, {});
  const std::vector<float> c = random_scales(static_cast<std::int64_t>(y.size()), "c");
  std::vector<float> d = c;
  gemm(hopper(), operands, {}, {Format::kF32, std::as_writable_bytes(std::span(d)), true});
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(d[i], c[i] + y[i]);
}

TEST(GemmScales, EveryTilingIsItsOwnTable) {
  const std::int64_t m = 37;
  const Experts experts{m};
  const CodeMatrix a = experts.tokens();
  const CodeMatrix b{kFp8, kN, kK, std::span(experts.b).first(kN * kK)};
  struct Tiling {
    ScaleTile a;
    ScaleTile b;
    std::int64_t every;
  };
  for (const Tiling& tiling :
       {Tiling{{1, 128}, {1, 128}, 128}, Tiling{{1, 32}, {1, 32}, 32}, Tiling{{1, kK}, {1, kK}, 320},
        Tiling{{m, kK}, {kN, kK}, 128}, Tiling{{1, 128}, {64, 64}, 64}}) {
    const ScaleShape shape_a = scale_shape(a, tiling.a);
    const ScaleShape shape_b = scale_shape(b, tiling.b);
    const std::vector<float> scale_a = random_scales(shape_a.rows * shape_a.columns, "tiled a");
    const std::vector<float> scale_b = random_scales(shape_b.rows * shape_b.columns, "tiled b");
    const GemmOperands operands{a, b, scale_a, scale_b, tiling.a, tiling.b};
    const Promotion promotion{PromotionOrder::kDeepgemm, tiling.every};
    std::vector<float> d(static_cast<std::size_t>(m * kN));
    gemm(hopper(), operands, promotion, d);
    EXPECT_TRUE(same_bits(d, plain(operands, promotion)));
    // One output from its intervals, each a GEMM of its own under the scales that the table has for it.
    const std::int64_t row = 11;
    const std::int64_t col = 130;
    float y = 0;
    for (std::int64_t k = 0; k < kK; k += tiling.every) {
      const auto count = static_cast<std::size_t>(std::min(tiling.every, kK - k));
      const auto length = static_cast<std::int64_t>(count);
      const std::vector<float> partial =
          plain({{kFp8, 1, length, a.bytes.subspan(static_cast<std::size_t>(row * kK + k), count)},
                 {kFp8, 1, length, b.bytes.subspan(static_cast<std::size_t>(col * kK + k), count)},
                 {},
                 {}},
                {});
      const float of_a = scale_a[static_cast<std::size_t>(row / tiling.a.rows * shape_a.columns + k / tiling.a.k)];
      const float of_b = scale_b[static_cast<std::size_t>(col / tiling.b.rows * shape_b.columns + k / tiling.b.k)];
      y = std::fma(partial.front(), of_a * of_b, y);
    }
    EXPECT_EQ(d[static_cast<std::size_t>(row * kN + col)], y);
  }
}

TEST(GemmBatch, OneCallIsManyCalls) {
  const Experts experts{60};
  std::vector<GemmOperands> operands;
  std::vector<GemmOutput> outputs;
  std::vector<std::vector<float>> d;
  for (const std::int64_t rows : {0, 3, 60, 0, 1}) d.emplace_back(static_cast<std::size_t>(rows * kN), -1.0F);
  std::vector<std::vector<float>> expected;
  for (std::vector<float>& one : d) {
    const auto rows = static_cast<std::int64_t>(one.size()) / kN;
    operands.push_back({{kFp8, rows, kK, std::span(experts.a).first(static_cast<std::size_t>(rows * kK))},
                        {kFp8, kN, kK, std::span(experts.b).first(kN * kK)},
                        {},
                        {}});
    outputs.push_back({Format::kF32, std::as_writable_bytes(std::span(one))});
    expected.push_back(plain(operands.back(), {}));
  }
  gemm_batch(hopper(), operands, {}, outputs);
  for (std::size_t i = 0; i < d.size(); ++i) EXPECT_TRUE(same_bits(d[i], expected[i])) << i;
}

}  // namespace
}  // namespace lastbit::numerics
