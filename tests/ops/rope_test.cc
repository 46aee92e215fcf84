#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "io/safetensors.h"
#include "random_tensor.h"
#include "support/shared.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

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
  const Tensor pairs = random_tensor("pairs", {kPositions, kDim});  // (2j, 2j + 1)
  Tensor halves = Tensor::zeros(tensor::DType::kF32, {kPositions, kDim});
  for (std::int64_t p = 0; p < kPositions; ++p)
    for (std::int64_t i = 0; i < kDim; ++i)
      halves.mutable_values<float>()[static_cast<std::size_t>(p * kDim + i / 2 + i % 2 * kDim / 2)] =
          at(pairs, p * kDim + i);
  Tensor interleaved = pairs.clone();
  Tensor to_halves = pairs.clone();
  apply_rope(halves.mutable_values<float>().data(), kPositions, kDim, 1, tables, RopeLayout::kHalfSplit);
  apply_rope(interleaved.mutable_values<float>().data(), kPositions, kDim, 1, tables, RopeLayout::kInterleaved);
  apply_rope(to_halves.mutable_values<float>().data(), kPositions, kDim, 1, tables, RopeLayout::kInterleavedToHalves);
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
  constexpr std::int64_t kPositions = 40;
  const RopeTables tables = rope_tables({8, 10000, {}}, kPositions);
  const Tensor q = random_tensor("q", {8});
  const Tensor k = random_tensor("k", {8});
  const auto score = [&](std::int64_t query, std::int64_t key) {
    std::vector<float> all(static_cast<std::size_t>(2 * kPositions * 8));
    for (std::size_t i = 0; i < all.size() / 2; ++i) {
      all[i] = at(q, static_cast<std::int64_t>(i % 8));
      all[i + all.size() / 2] = at(k, static_cast<std::int64_t>(i % 8));
    }
    apply_rope(all.data(), 2 * kPositions, 8, 1, tables, RopeLayout::kInterleaved);
    double sum = 0;
    for (std::int64_t i = 0; i < 8; ++i)
      sum += static_cast<double>(all[static_cast<std::size_t>(query * 8 + i)]) *
             static_cast<double>(all[static_cast<std::size_t>((kPositions + key) * 8 + i)]);
    return sum;
  };
  EXPECT_NEAR(score(9, 4), score(39, 34), 1e-6);
  EXPECT_GT(std::abs(score(9, 4) - score(9, 3)), 1e-3);
}

}  // namespace
}  // namespace lastbit::ops
