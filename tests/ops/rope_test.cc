#include "ops/rope.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "io/safetensors.h"
#include "operator_checks.h"
#include "random_tensor.h"
#include "support/shared.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::array kLayouts = {RopeLayout::kHalfSplit, RopeLayout::kInterleaved, RopeLayout::kInterleavedToHalves};

Tensor positions_of(const std::vector<std::int64_t>& positions) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(positions.size())}, positions);
}

RopeParameters yarn_of_v3(double mscale) { return {64, 10000, YarnParameters{40, 4096, 32, 1, mscale, mscale}}; }

TEST(Rope, YarnRangeAndScaleOfDeepSeekV3) {
  const YarnRange range = yarn_range(yarn_of_v3(1));
  EXPECT_EQ(range.low, 10);
  EXPECT_EQ(range.high, 23);
  EXPECT_NEAR(yarn_mscale(40, 1.0), 1.3688879454113936, 1e-15);
  EXPECT_NEAR(yarn_mscale(40, 0.707), 1.2608037774058554, 1e-15);
  EXPECT_EQ(yarn_mscale(1, 1.0), 1);
}

TEST(Rope, YarnFrequenciesAsGolden) {
  LASTBIT_NEEDS_SHARED();
  const auto golden = io::SafetensorsFile::open(testing::shared_path("golden/model/losses.safetensors"));
  for (const auto& [name, mscale] : {std::pair{"yarn.v3.inv_freq", 1.0}, std::pair{"yarn.v2lite.inv_freq", 0.707}}) {
    const Tensor expected = golden.tensor(name);
    const Tensor ours = rope_tables(yarn_of_v3(mscale), 1).inv_freq;
    for (std::int64_t j = 0; j < 32; ++j) {
      const double frequency = expected.values<double>()[static_cast<std::size_t>(j)];
      EXPECT_NEAR(static_cast<double>(at(ours, j)) / frequency, 1, 6e-8) << name << " " << j;
    }
  }
}

TEST(Rope, TablesHoldAtFarPositions) {
  const std::int64_t positions = 163840;
  const RopeTables tables = rope_tables({8, 10000, {}}, positions);
  const std::int64_t last = positions - 1;
  EXPECT_NEAR(static_cast<double>(at(tables.cos, last * 4)), std::cos(static_cast<double>(last)), 1e-7);
  EXPECT_NEAR(static_cast<double>(at(tables.sin, last * 4 + 1)), std::sin(static_cast<double>(last) / 10), 1e-7);
}

TEST(Rope, YarnMultipliesTablesByTheAttentionFactor) {
  const RopeTables plain = rope_tables({64, 10000, YarnParameters{40, 4096, 32, 1, 1, 1}}, 3);
  const RopeTables scaled = rope_tables({64, 10000, YarnParameters{40, 4096, 32, 1, 1, 0}}, 3);
  for (std::int64_t i = 0; i < 96; ++i)
    EXPECT_NEAR(static_cast<double>(at(scaled.cos, i)), 1.3688879454113936 * static_cast<double>(at(plain.cos, i)),
                2e-7);
}

// The three layouts turn the same pairs, and put the results where their names say.
TEST(Rope, LayoutsArePermutationsOfEachOther) {
  constexpr std::int64_t kDim = 6;
  constexpr std::int64_t kPositions = 5;
  const RopeTables tables = rope_tables({kDim, 10000, {}}, kPositions);
  const Tensor pairs = random_tensor("pairs", {kPositions, 1, kDim});  // (2j, 2j + 1)
  Tensor halves = Tensor::zeros(tensor::DType::kF32, {kPositions, 1, kDim});
  for (std::int64_t p = 0; p < kPositions; ++p)
    for (std::int64_t i = 0; i < kDim; ++i)
      halves.mutable_values<float>()[static_cast<std::size_t>(p * kDim + i / 2 + i % 2 * kDim / 2)] =
          at(pairs, p * kDim + i);
  Tensor interleaved = pairs.clone();
  Tensor to_halves = pairs.clone();
  apply_rope(halves, tables, RopeLayout::kHalfSplit);
  apply_rope(interleaved, tables, RopeLayout::kInterleaved);
  apply_rope(to_halves, tables, RopeLayout::kInterleavedToHalves);
  for (std::int64_t p = 0; p < kPositions; ++p) {
    for (std::int64_t i = 0; i < kDim; ++i) {
      const std::int64_t half_place = p * kDim + i / 2 + i % 2 * kDim / 2;
      EXPECT_EQ(at(interleaved, p * kDim + i), at(halves, half_place));
      EXPECT_EQ(at(to_halves, half_place), at(halves, half_place));
    }
  }
  for (std::int64_t i = 0; i < kDim; ++i) EXPECT_EQ(at(interleaved, i), at(pairs, i)) << "position 0 turns nothing";
}

TEST(Rope, ScoresDependOnTheDistanceAlone) {
  const RopeTables tables = rope_tables({8, 10000, {}}, 40, tensor::DType::kF64);
  const auto score = [&](std::int64_t query, std::int64_t key) {
    Tensor q = random_f64("q", {1, 1, 8});
    Tensor k = random_f64("k", {1, 1, 8});
    const Tensor at_query = positions_of({query});
    const Tensor at_key = positions_of({key});
    apply_rope(q, tables, RopeLayout::kInterleaved, 0, &at_query);
    apply_rope(k, tables, RopeLayout::kInterleaved, 0, &at_key);
    return inner(q, k);
  };
  EXPECT_NEAR(score(9, 4), score(39, 34), 1e-14);
  EXPECT_GT(std::abs(score(9, 4) - score(9, 3)), 1e-3);
}

TEST(Rope, ExplicitPositionsAreSlicesOfTheWhole) {
  const RopeTables tables = rope_tables(yarn_of_v3(0.707), 30);
  for (const RopeLayout layout : kLayouts) {
    Tensor whole = random_tensor("x", {1, 30, 2, 70});
    Tensor decoded = whole.slice(1, 11, 16).clone();
    const Tensor past = positions_of({11, 12, 13, 14, 15});
    apply_rope(whole, tables, layout, 3);
    apply_rope(decoded, tables, layout, 3, &past);
    EXPECT_TRUE(same_bits(decoded, whole.slice(1, 11, 16).clone()));

    Tensor packed = random_tensor("x", {5, 2, 70});  // documents of three and two tokens
    Tensor first = packed.slice(0, 0, 3).clone();
    Tensor second = packed.slice(0, 3, 5).clone();
    const Tensor restarted = positions_of({0, 1, 2, 0, 1});
    apply_rope(packed, tables, layout, 3, &restarted);
    apply_rope(first, tables, layout, 3);
    apply_rope(second, tables, layout, 3);
    EXPECT_TRUE(same_bits(packed.slice(0, 0, 3), first));
    EXPECT_TRUE(same_bits(packed.slice(0, 3, 5), second));
  }
}

// Which pairs, which rounding, and that nothing else of a vector moves; a batch of two starts again at position 0.
TEST(Rope, FollowsTheDocumentedRounding) {
  const RopeTables tables = rope_tables({4, 100, {}}, 6);
  const Tensor x = random_tensor("x", {2, 6, 3, 9});
  Tensor turned = x.clone();
  apply_rope(turned, tables, RopeLayout::kInterleavedToHalves, 5);
  Tensor back = x.clone();
  apply_rope_backward(back, tables, RopeLayout::kInterleavedToHalves, 5);
  for (std::int64_t v = 0; v < 36; ++v) {
    for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(at(turned, v * 9 + i), at(x, v * 9 + i));
    for (std::int64_t j = 0; j < 2; ++j) {
      const float cos = at(tables.cos, v / 3 % 6 * 2 + j);
      const float sin = at(tables.sin, v / 3 % 6 * 2 + j);
      const float a = at(x, v * 9 + 5 + 2 * j);
      const float b = at(x, v * 9 + 5 + 2 * j + 1);
      EXPECT_EQ(at(turned, v * 9 + 5 + j), a * cos - b * sin);
      EXPECT_EQ(at(turned, v * 9 + 5 + j + 2), b * cos + a * sin);
      const float c = at(x, v * 9 + 5 + j);
      const float d = at(x, v * 9 + 5 + j + 2);
      EXPECT_EQ(at(back, v * 9 + 5 + 2 * j), c * cos + d * sin);
      EXPECT_EQ(at(back, v * 9 + 5 + 2 * j + 1), d * cos - c * sin);
    }
  }
}

TEST(Rope, GradientIsThatOfDifferences) {
  // An attention factor of 1.37: the transpose is not the inverse.
  const RopeTables tables = rope_tables({6, 10000, YarnParameters{40, 64, 32, 1, 1, 0}}, 9, tensor::DType::kF64);
  const Tensor positions = positions_of({8, 0, 3});
  for (const RopeLayout layout : kLayouts) {
    const Tensor x = random_f64("x", {3, 2, 7});
    const Tensor dy = random_f64("dy", {3, 2, 7});
    Tensor dx = dy.clone();
    apply_rope_backward(dx, tables, layout, 1, &positions);
    const auto loss = [&](const Tensor& moved) {
      Tensor y = moved.clone();
      apply_rope(y, tables, layout, 1, &positions);
      return inner(y, dy);
    };
    expect_gradient(dx, x, loss, "x");
  }
}

// The rule as transformers writes it, in wavelengths, with libm; Llama 3.1's parameters put dimensions on all three
// sides.
TEST(Rope, Llama3FrequenciesFollowTheRule) {
  RopeParameters parameters{128, 500000, {}};
  parameters.llama3 = Llama3Parameters{8, 1, 4, 8192};
  const Tensor ours = rope_tables(parameters, 1, tensor::DType::kF64).inv_freq;
  int kept = 0;
  int divided = 0;
  for (std::size_t j = 0; j < 64; ++j) {
    const double plain = std::pow(500000.0, -static_cast<double>(j) / 64);
    const double wavelength = 2 * std::acos(-1.0) / plain;
    double expected = wavelength > 8192.0 / 1 ? plain / 8 : plain;
    if (wavelength >= 8192.0 / 4 && wavelength <= 8192.0 / 1) {
      const double smooth = (8192 / wavelength - 1) / (4 - 1);
      expected = (1 - smooth) * plain / 8 + smooth * plain;
    }
    kept += expected == plain ? 1 : 0;
    divided += expected == plain / 8 ? 1 : 0;
    EXPECT_NEAR(ours.values<double>()[j] / expected, 1, 1e-13) << j;
  }
  EXPECT_EQ(kept, 29);     // 2 pi 500000^(29/64) = 2401 is the first of at least 2048
  EXPECT_EQ(divided, 29);  // 2 pi 500000^(35/64) = 8219 is the first above 8192
}

TEST(Rope, Fp64TablesRoundToTheFp32Ones) {
  const RopeTables wide = rope_tables(yarn_of_v3(1), 50, tensor::DType::kF64);
  const RopeTables narrow = rope_tables(yarn_of_v3(1), 50);
  for (std::int64_t i = 0; i < narrow.cos.size(); ++i) {
    EXPECT_EQ(at(narrow.cos, i), static_cast<float>(wide.cos.values<double>()[static_cast<std::size_t>(i)]));
    EXPECT_EQ(at(narrow.sin, i), static_cast<float>(wide.sin.values<double>()[static_cast<std::size_t>(i)]));
  }
  const double frequency = wide.inv_freq.values<double>()[5];
  EXPECT_NEAR(wide.cos.values<double>()[49 * 32 + 5], std::cos(49 * frequency), 1e-14);
}

TEST(Rope, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([] {
    const RopeTables tables = rope_tables(yarn_of_v3(1), 40);
    Tensor x = random_tensor("x", {3, 40, 5, 64});
    apply_rope(x, tables, RopeLayout::kInterleavedToHalves);
    Tensor dx = x.clone();
    apply_rope_backward(dx, tables, RopeLayout::kInterleavedToHalves);
    return std::vector<Tensor>{tables.cos, x, dx};
  });
}

TEST(Rope, RefusesPositionsOutsideAndShapesThatDoNotMeet) {
  const RopeTables tables = rope_tables({4, 10000, {}}, 3);
  Tensor x = random_tensor("x", {2, 1, 4});
  const Tensor outside = positions_of({0, 3});
  const Tensor negative = positions_of({-1, 0});
  const Tensor too_few = positions_of({0});
  for (const Tensor* positions : {&outside, &negative, &too_few})
    EXPECT_THROW(apply_rope(x, tables, RopeLayout::kHalfSplit, 0, positions), core::Error);
  EXPECT_THROW(apply_rope(x, tables, RopeLayout::kHalfSplit, 1), core::Error) << "past the vector's end";
  Tensor longer = random_tensor("x", {4, 1, 4});
  EXPECT_THROW(apply_rope(longer, tables, RopeLayout::kHalfSplit), core::Error);
  Tensor wide = random_f64("x", {2, 1, 4});
  EXPECT_THROW(apply_rope(wide, tables, RopeLayout::kHalfSplit), core::Error);
  EXPECT_TRUE(same_bits(x, random_tensor("x", {2, 1, 4})));
  EXPECT_THROW(static_cast<void>(rope_tables({4, 10000, YarnParameters{}, Llama3Parameters{}}, 1)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops
