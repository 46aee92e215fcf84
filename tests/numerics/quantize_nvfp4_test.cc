#include "numerics/quantize_nvfp4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check/input_families.h"
#include "core/error.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

constexpr EncodeOptions kSaturating{Rounding::kNearestEven, Overflow::kSaturate, Convention::kCuda};

// The sentences of the header, one element after the other.
QuantizedNvfp4 plain(const FloatMatrix& x) {
  float amax = 0;
  for (const float value : x.values) amax = std::max(amax, std::abs(value));
  const float most = std::numeric_limits<float>::max();
  const float encode_scale = amax == 0 ? 1.0F : std::min(2688.0F / amax, most);
  QuantizedNvfp4 q{x.rows, x.cols, {}, {}, 1 / encode_scale};
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t first = 0; first < x.cols; first += 16) {
      const std::int64_t last = std::min(first + 16, x.cols);
      const auto value = [&](std::int64_t j) { return x.values[static_cast<std::size_t>(i * x.cols + j)]; };
      float of_block = 0;
      for (std::int64_t j = first; j < last; ++j) of_block = std::max(of_block, std::abs(value(j)));
      const std::uint32_t scale = encode(of_block / 6 * encode_scale, Format::kE4M3, kSaturating);
      q.block_scales.push_back(static_cast<std::uint8_t>(scale));
      const float factor = std::min(1 / (decode(scale, Format::kE4M3) * q.tensor_scale), most);
      for (std::int64_t j = first; j < last; ++j)
        q.codes.push_back(static_cast<std::byte>(encode(value(j) * factor, Format::kE2M1, kSaturating)));
    }
  return q;
}

std::vector<float> draw(check::InputFamily family, std::int64_t rows, std::int64_t cols) {
  const std::vector<std::byte> bytes = check::draw_codes(family, Format::kF32, {rows, cols}, 6, "nvfp4");
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(QuantizeNvfp4, AsItsSentencesSayOnEveryInstructionSet) {
  for (const check::InputFamily family : check::input_families()) {
    if (family == check::InputFamily::kSpecials) continue;
    for (const std::int64_t cols : {0, 1, 15, 16, 17, 31, 33, 100, 256}) {
      const std::vector<float> values = draw(family, 7, cols);
      const FloatMatrix x{values, 7, cols};
      const QuantizedNvfp4 expected = plain(x);
      for (const std::string& target : vector_targets()) {
        use_vector_target(target);
        const QuantizedNvfp4 q = quantize_nvfp4(x, "x");
        EXPECT_EQ(q.codes, expected.codes) << target << " " << check::to_string(family) << " " << cols;
        EXPECT_EQ(q.block_scales, expected.block_scales) << target << " " << check::to_string(family) << " " << cols;
        EXPECT_EQ(q.tensor_scale, expected.tensor_scale);
      }
    }
  }
  use_vector_target("");
}

TEST(QuantizeNvfp4, KnownValues) {
  std::vector<float> values(32, 0.0F);
  values[0] = 6;   // the first block's scale is 448 of 448
  values[1] = -5;  // a tie of 4 and 6: to the even code, 4
  values[2] = 0.25F;
  values[16] = 3;
  const QuantizedNvfp4 q = quantize_nvfp4({values, 1, 32}, "x");
  EXPECT_EQ(q.block_scales, (std::vector<std::uint8_t>{0x7e, 0x76}));
  EXPECT_EQ(q.tensor_scale, 1.0F / 448);
  const std::vector<float> back = dequantize_nvfp4(q);
  EXPECT_FLOAT_EQ(back[0], 6);
  EXPECT_FLOAT_EQ(back[1], -4);
  EXPECT_EQ(back[2], 0);
  EXPECT_FLOAT_EQ(back[16], 3);
  EXPECT_EQ(q.codes[1], std::byte{0xe});
}

TEST(QuantizeNvfp4, NamesWhatIsNotFinite) {
  std::vector<float> values(40, 1.0F);
  values[33] = std::numeric_limits<float>::infinity();
  try {
    (void)quantize_nvfp4({values, 2, 20}, "x.npy");
    ADD_FAILURE() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("x.npy: the value at [1, 13] is inf"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lastbit::numerics
