// FP8 conversions and blocks, and YaRN's tables, against losses.{json,safetensors}.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "io/json.h"
#include "io/safetensors.h"
#include "numerics/format.h"
#include "numerics/quantize.h"
#include "ops/rope.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using numerics::Format;
using tensor::Tensor;

io::SafetensorsFile golden() {
  return io::SafetensorsFile::open(testing::shared_path("golden/model/losses.safetensors"));
}

TEST(Fp8Golden, EveryCodeDecodes) {
  LASTBIT_NEEDS_SHARED();
  for (const auto& [name, format] : {std::pair{"fp8.e4m3_decode", Format::kE4M3}, {"fp8.e5m2_decode", Format::kE5M2}}) {
    const Tensor expected = golden().tensor(name);
    ASSERT_EQ(expected.size(), 256);
    for (std::uint32_t code = 0; code < 256; ++code) {
      float value = numerics::decode(code, format);
      // The file's stand-ins for what is not a number.
      if (std::isnan(value)) value = 9e9F;
      if (std::isinf(value)) value = std::copysign(8e9F, value);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(expected.values<float>()[code]))
          << name << " " << code;
    }
  }
}

TEST(Fp8Golden, RoundsToNearestEven) {
  LASTBIT_NEEDS_SHARED();
  const io::SafetensorsFile file = golden();
  const Tensor x = file.tensor("fp8.round.x");
  const Tensor e4m3 = file.tensor("fp8.round.e4m3");
  const Tensor e5m2 = file.tensor("fp8.round.e5m2");
  const Tensor bf16 = file.tensor("fp8.round.bf16");
  ASSERT_EQ(x.size(), 400);
  for (std::size_t i = 0; i < 400; ++i) {
    const auto code = [&](Format format) {
      return numerics::encode(x.values<float>()[i], format, numerics::default_encode_options(format));
    };
    EXPECT_EQ(code(Format::kE4M3), e4m3.values<std::uint8_t>()[i]) << i;
    EXPECT_EQ(code(Format::kE5M2), e5m2.values<std::uint8_t>()[i]) << i;
    EXPECT_EQ(code(Format::kBF16), static_cast<std::uint32_t>(bf16.values<std::int32_t>()[i]) & 0xffff) << i;
  }
}

TEST(Fp8Golden, ActivationBlocks) {
  LASTBIT_NEEDS_SHARED();
  const io::SafetensorsFile file = golden();
  const Tensor x = file.tensor("fp8.act.x");
  for (const auto& [name, scale] :
       {std::pair{"fp8.act", numerics::ScaleKind::kF32}, {"fp8.act_ue8m0", numerics::ScaleKind::kUe8m0}}) {
    numerics::QuantizeRule rule;
    rule.scale = scale;
    rule.zero_block = numerics::ZeroBlock::kEpsilon;
    const numerics::Quantized ours = numerics::quantize({x.values<float>(), x.dim(0), x.dim(1)}, rule, "x");
    const Tensor codes = file.tensor(std::string(name) + ".q");
    const Tensor scales = file.tensor(std::string(name) + ".scale");
    EXPECT_TRUE(std::ranges::equal(ours.codes, codes.bytes())) << name;
    EXPECT_TRUE(std::ranges::equal(ours.scales, scales.values<float>())) << name;
  }
}

TEST(YarnGolden, RangesScalesAndFrequencies) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json all = io::load_json(testing::shared_path("golden/model/losses.json"));
  for (const std::string name : {"yarn.v3", "yarn.v2lite"}) {
    const nlohmann::json& c = all.at(name);
    const double factor = c.at("factor");
    const double mscale = name == "yarn.v3" ? 1 : 0.707;  // no part of the frequencies
    const ops::RopeParameters parameters{
        c.at("dim"), c.at("base"),
        ops::YarnParameters{factor, c.at("orig"), c.at("beta_fast"), c.at("beta_slow"), mscale, mscale}};
    const ops::YarnRange range = ops::yarn_range(parameters);
    EXPECT_EQ(range.low, c.at("low")) << name;
    EXPECT_EQ(range.high, c.at("high")) << name;
    EXPECT_NEAR(ops::yarn_mscale(factor, 1), c.at("mscale_1").get<double>(), 1e-15);
    EXPECT_NEAR(ops::yarn_mscale(factor, 0.707), c.at("mscale_0707").get<double>(), 1e-15);
    const Tensor ours = ops::rope_tables(parameters, 1).inv_freq;
    const Tensor expected = golden().tensor(name + ".inv_freq");
    ASSERT_EQ(ours.size(), expected.size());
    for (std::size_t j = 0; j < ours.values<float>().size(); ++j) {
      const double frequency = expected.values<double>()[j];
      EXPECT_NEAR(static_cast<double>(ours.values<float>()[j]), frequency, 0x1.01p-24 * frequency) << name << " " << j;
    }
  }
}

}  // namespace
}  // namespace lastbit
