#include "numerics/quantize_e5m6.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/parallel.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kRowsATask = 16;
constexpr float kLargest = 65024.0F;  // (2 - 2^-6) 2^15

// amax / kLargest, up to a power of two: exponent + (mantissa != 0), within 1 .. 254.
float scale_of(float amax) {
  const auto bits = std::bit_cast<std::uint32_t>(amax / kLargest);
  if (bits == 0) return 1;
  const std::uint32_t exponent = (bits >> 23) + ((bits & 0x7fffffU) != 0 ? 1U : 0U);
  return std::bit_cast<float>(std::clamp(exponent, 1U, 254U) << 23);
}

}  // namespace

Quantized quantize_e5m6(const FloatMatrix& matrix, const std::string& what) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(matrix.values.begin(), matrix.values.end(), finite)) fail_not_finite(matrix, what);
  const std::int64_t tiles = (matrix.cols + kScaleBlock - 1) / kScaleBlock;
  Quantized result{Format::kE5M6, matrix.rows, matrix.cols, {1, kScaleBlock}, {}, {}};
  result.codes.resize(static_cast<std::size_t>(2 * matrix.rows * matrix.cols));
  result.scales.resize(static_cast<std::size_t>(matrix.rows * tiles));
  const EncodeOptions options = default_encode_options(Format::kE5M6);
  core::parallel_for(matrix.rows, kRowsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin * tiles; tile < end * tiles; ++tile) {
      const std::int64_t first = tile / tiles * matrix.cols + tile % tiles * kScaleBlock;
      const std::int64_t count = std::min(kScaleBlock, matrix.cols - tile % tiles * kScaleBlock);
      const float* x = matrix.values.data() + first;
      float amax = 0;
      for (std::int64_t i = 0; i < count; ++i) amax = std::max(amax, std::abs(x[i]));
      const float scale = scale_of(amax);
      result.scales[static_cast<std::size_t>(tile)] = scale;
      for (std::int64_t i = 0; i < count; ++i) {
        const auto code = static_cast<std::uint16_t>(encode(x[i] / scale, Format::kE5M6, options));
        std::memcpy(result.codes.data() + 2 * (first + i), &code, sizeof(code));
      }
    }
  });
  return result;
}

std::vector<float> dequantize_e5m6(const Quantized& quantized) {
  core::check(quantized.format == Format::kE5M6, "dequantize_e5m6 wants E5M6 codes");
  std::vector<float> table(1U << 12);
  for (std::uint32_t code = 0; code < table.size(); ++code) table[code] = decode(code, Format::kE5M6);
  std::vector<float> values(static_cast<std::size_t>(quantized.rows * quantized.cols));
  const std::int64_t tiles = (quantized.cols + kScaleBlock - 1) / kScaleBlock;
  core::parallel_for(quantized.rows, kRowsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * quantized.cols; i < end * quantized.cols; ++i) {
      std::uint16_t code = 0;
      std::memcpy(&code, quantized.codes.data() + 2 * i, sizeof(code));
      const std::int64_t tile = i / quantized.cols * tiles + i % quantized.cols / kScaleBlock;
      values[static_cast<std::size_t>(i)] = table[code] * quantized.scales[static_cast<std::size_t>(tile)];
    }
  });
  return values;
}

}  // namespace lastbit::numerics
