#include "numerics/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "io/safetensors.h"
#include "numerics/normal.h"
#include "numerics/quantize_loops.h"
#include "numerics/vector_target.h"
#include "support/shared.h"

namespace lastbit::numerics {
namespace {

constexpr EncodeOptions kSaturating{Rounding::kNearestEven, Overflow::kSaturate, Convention::kCuda};

std::vector<float> normal_values(std::int64_t count, std::uint64_t seed = 5) {
  std::vector<float> values(static_cast<std::size_t>(count));
  fill_normal(core::RandomStream(seed, "quantize"), 1.0, values);
  return values;
}

// The sentences of the header, one element after the other.
Quantized plain(const FloatMatrix& x, const QuantizeRule& rule) {
  Quantized q{rule.format, x.rows, x.cols, rule.tile, {}, {}};
  const std::int64_t tile_cols = (x.cols + rule.tile.k - 1) / rule.tile.k;
  const std::int64_t tile_rows = (x.rows + rule.tile.rows - 1) / rule.tile.rows;
  const float largest = rule.format == Format::kE4M3 ? 448.0F : 57344.0F;
  std::vector<float> amax(static_cast<std::size_t>(tile_rows * tile_cols));
  const auto tile_of = [&](std::int64_t i, std::int64_t j) {
    return static_cast<std::size_t>(i / rule.tile.rows * tile_cols + j / rule.tile.k);
  };
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t j = 0; j < x.cols; ++j)
      amax[tile_of(i, j)] = std::max(amax[tile_of(i, j)], std::abs(x.values[static_cast<std::size_t>(i * x.cols + j)]));
  for (float& value : amax) {
    if (rule.zero_block == ZeroBlock::kEpsilon) value = std::max(value, rule.amax_epsilon);
    float scale = value / largest;
    if (scale == 0) scale = 1;
    if (rule.scale == ScaleKind::kUe8m0) {
      int exponent = 0;
      const float fraction = std::frexp(scale, &exponent);  // in [0.5, 1)
      scale = std::ldexp(1.0F, std::clamp(fraction == 0.5F ? exponent - 1 : exponent, -126, 127));
    }
    q.scales.push_back(scale);
  }
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t j = 0; j < x.cols; ++j) {
      const float value = x.values[static_cast<std::size_t>(i * x.cols + j)];
      const float scale = q.scales[tile_of(i, j)];
      const float of_tile = amax[tile_of(i, j)];
      float scaled = value / scale;
      if (rule.method == QuantizeMethod::kReciprocal)
        scaled = value * (rule.scale == ScaleKind::kUe8m0 || of_tile == 0 ? 1 / scale : largest / of_tile);
      q.codes.push_back(static_cast<std::byte>(encode(scaled, rule.format, kSaturating)));
    }
  return q;
}

TEST(QuantizeLoops, EncodeAsTheScalarConversion) {
  std::vector<float> values;
  // Every exponent, around every kind of tie, both signs.
  for (std::uint32_t bits = 0; bits < kInfinityBits; bits += 0x3fff1) values.push_back(std::bit_cast<float>(bits));
  for (const Format format : {Format::kE4M3, Format::kE5M2})
    for (std::uint32_t code = 0; code < 0x7e; ++code) {
      const float here = decode(code, format);
      const float tie = here + (decode(code + 1, format) - here) / 2;
      if (!std::isfinite(tie)) continue;
      for (const float value : {here, tie, std::nextafter(tie, 0.0F), std::nextafter(tie, 1e9F)}) {
        values.push_back(value);
        values.push_back(-value);
      }
    }
  std::vector<std::uint8_t> codes(values.size());
  for (const std::string& target : vector_targets()) {
    use_vector_target(target);
    for (const Format format : {Format::kE4M3, Format::kE5M2}) {
      const float one = 1;
      encode_multiplied(values.data(), std::ssize(values), std::ssize(values), &one, format, codes.data());
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(codes[i], encode(values[i], format, kSaturating)) << target << " " << values[i];
    }
  }
  use_vector_target("");
}

TEST(Quantize, EveryTilingAndHabitOnEveryInstructionSet) {
  const std::int64_t rows = 130;
  const std::int64_t cols = 201;
  std::vector<float> values = normal_values(rows * cols);
  std::fill_n(values.begin(), 300, 0.0F);          // tiles of zeros
  std::fill_n(values.begin() + 300, 130, 1e-41F);  // subnormal numbers
  const FloatMatrix matrix{values, rows, cols};
  for (const std::string& target : vector_targets()) {
    use_vector_target(target);
    for (const ScaleTile tile :
         {ScaleTile{1, 128}, {128, 1}, {128, 128}, {1, 32}, {1, cols}, {rows, cols}, {3, 7}, {100, 5}})
      for (const Format format : {Format::kE4M3, Format::kE5M2})
        for (const ScaleKind scale : {ScaleKind::kF32, ScaleKind::kUe8m0})
          for (const QuantizeMethod method : {QuantizeMethod::kDivision, QuantizeMethod::kReciprocal})
            for (const ZeroBlock zero : {ZeroBlock::kOne, ZeroBlock::kEpsilon}) {
              const QuantizeRule rule{format, tile, scale, method, zero};
              // Reciprocals of the smallest amax overflow; that rule has a test of its own.
              if (method == QuantizeMethod::kReciprocal && zero == ZeroBlock::kOne) continue;
              const Quantized expected = plain(matrix, rule);
              const Quantized q = quantize(matrix, rule, "x");
              ASSERT_EQ(q.scales, expected.scales) << tile.rows << "x" << tile.k;
              ASSERT_EQ(q.codes, expected.codes) << tile.rows << "x" << tile.k << " " << target;
            }
  }
  use_vector_target("");
}

TEST(Quantize, AReciprocalBeyondRangeStaysFinite) {
  const std::vector<float> values{0.0F, 1e-38F, -1e-38F};
  QuantizeRule rule;
  rule.method = QuantizeMethod::kReciprocal;
  const Quantized q = quantize({values, 1, 3}, rule, "x");
  EXPECT_EQ(q.codes[0], std::byte{0});
  // 1e-38 times the largest float is 3.4: well inside E4M3, and no NaN from 0 times Inf.
  EXPECT_EQ(q.codes[1],
            static_cast<std::byte>(encode(1e-38F * std::numeric_limits<float>::max(), Format::kE4M3, kSaturating)));
}

TEST(Quantize, AgreesWithTheGoldenBlocks) {
  LASTBIT_NEEDS_SHARED();
  const auto file = io::SafetensorsFile::open(testing::shared_path("golden/model/losses.safetensors"));
  for (const auto& [name, kind] : {std::pair{"fp8.act", ScaleKind::kF32}, {"fp8.act_ue8m0", ScaleKind::kUe8m0}}) {
    const tensor::Tensor x = file.tensor("fp8.act.x");
    const tensor::Tensor codes = file.tensor(std::string(name) + ".q");
    const tensor::Tensor scales = file.tensor(std::string(name) + ".scale");
    QuantizeRule rule;
    rule.scale = kind;
    rule.zero_block = ZeroBlock::kEpsilon;
    const Quantized q = quantize({x.values<float>(), x.dim(0), x.dim(1)}, rule, "x");
    ASSERT_EQ(q.codes.size(), codes.nbytes());
    EXPECT_EQ(std::memcmp(q.codes.data(), codes.bytes().data(), codes.nbytes()), 0) << name;
    EXPECT_TRUE(std::ranges::equal(q.scales, scales.values<float>())) << name;
  }
}

TEST(Quantize, TransposedIsTheTransposedMatrix) {
  const std::int64_t rows = 150;
  const std::int64_t cols = 70;
  const std::vector<float> values = normal_values(rows * cols);
  std::vector<float> turned(values.size());
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      turned[static_cast<std::size_t>(j * rows + i)] = values[static_cast<std::size_t>(i * cols + j)];
  for (const ScaleTile tile : {ScaleTile{1, 128}, {128, 128}, {1, 32}, {5, 60}, {1, rows}, {cols, rows}}) {
    QuantizeRule rule;
    rule.tile = tile;
    const Quantized expected = quantize({turned, cols, rows}, rule, "x");
    const Quantized q = quantize_transposed({values, rows, cols}, rule, "x");
    EXPECT_EQ(q.codes, expected.codes);
    EXPECT_EQ(q.scales, expected.scales);
    EXPECT_EQ(q.rows, cols);
    EXPECT_EQ(q.tile.k, tile.k);
  }
}

TEST(Quantize, GivenScalesAndTheWayBack) {
  const std::vector<float> values{1.0F, -2.0F, 1000.0F, 0.3F};
  const Quantized q = quantize_with({values, 2, 2}, Format::kE4M3, {2, 2}, {2.0F}, "x");
  EXPECT_EQ(dequantize(q), (std::vector<float>{1.0F, -2.0F, 896.0F, 0.3125F}));  // 1000 / 2 saturates at 448
}

TEST(Quantize, RequantisingSaysWhatItCosts) {
  const std::vector<float> values = normal_values(128 * 256);
  const Quantized fine = quantize({values, 128, 256}, {}, "x");
  QuantizationError none;
  (void)requantize(fine, {}, &none);
  EXPECT_EQ(none.max_absolute, 0);  // the same tiles: every code stands for itself
  QuantizeRule coarse;
  coarse.tile = {128, 1};
  QuantizationError some;
  const Quantized other = requantize(fine, coarse, &some);
  EXPECT_GT(some.relative_frobenius, 1e-3);
  EXPECT_LT(some.relative_frobenius, 0x1p-4);  // half a step of three fraction bits
  EXPECT_EQ(other.scales.size(), 256u);
}

TEST(Quantize, DelayedScalingLooksBack) {
  DelayedScaling scaling({.format = Format::kE4M3}, 3);
  EXPECT_EQ(scaling.scale(), 1.0F);
  for (const float amax : {448.0F, 896.0F, 44.8F}) scaling.end_step(amax);
  EXPECT_EQ(scaling.scale(), 2.0F);
  scaling.end_step(4.48F);
  EXPECT_EQ(scaling.scale(), 2.0F);
  scaling.end_step(4.48F);
  EXPECT_EQ(scaling.scale(), 44.8F / 448.0F);
  EXPECT_THROW(scaling.end_step(std::numeric_limits<float>::infinity()), core::Error);
}

TEST(Quantize, RefusesWhatHasNoCode) {
  std::vector<float> values = normal_values(300);
  values[257] = std::numeric_limits<float>::quiet_NaN();
  try {
    (void)quantize({values, 3, 100}, {}, "w.npy");
    FAIL() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "w.npy: the value at [2, 57] is nan, expected finite numbers");
  }
  EXPECT_THROW((void)quantize_transposed({values, 3, 100}, {}, "x"), core::Error);
  QuantizeRule rule;
  rule.format = Format::kBF16;
  EXPECT_THROW((void)quantize({values, 3, 100}, rule, "x"), core::Error);
}

TEST(Quantize, TilesHaveNames) {
  EXPECT_EQ(find_scale_tile("1x128", 5, 7).k, 128);
  EXPECT_EQ(find_scale_tile("tensor", 5, 7).rows, 5);
  EXPECT_EQ(find_scale_tile("row", 5, 7).k, 7);
  for (const char* wrong : {"", "128", "1x", "x1", "0x128", "1x128x2", "colum"})
    EXPECT_THROW((void)find_scale_tile(wrong, 5, 7), core::Error) << wrong;
}

}  // namespace
}  // namespace lastbit::numerics
