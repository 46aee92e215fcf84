#include "numerics/quantize_e5m6.h"

#include <algorithm>
#include <array>
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

// encode()'s bits of a value up to kLargest, without its generality, so that compilers vectorise it. Below 2^-14 codes
// count 2^-20, the last place of 8; above it 17 of a float's bits are rounded away.
std::uint16_t code_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 8.0F) - 0x41000000U;
  const std::uint32_t rounded = (magnitude + 0xffffU + (magnitude >> 17 & 1U)) >> 17;
  const std::uint32_t code = magnitude < 0x38800000U ? small : rounded - (112U << 6);
  return static_cast<std::uint16_t>((bits >> 20 & 0x800U) | code);
}

}  // namespace

Quantized quantize_e5m6(const FloatMatrix& matrix, const std::string& what) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(matrix.values.begin(), matrix.values.end(), finite)) fail_not_finite(matrix, what);
  const std::int64_t tiles = (matrix.cols + kScaleBlock - 1) / kScaleBlock;
  Quantized result{Format::kE5M6, matrix.rows, matrix.cols, {1, kScaleBlock}, {}, {}};
  result.codes.resize(static_cast<std::size_t>(2 * matrix.rows * matrix.cols));
  result.scales.resize(static_cast<std::size_t>(matrix.rows * tiles));
  core::parallel_for(matrix.rows, kRowsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin * tiles; tile < end * tiles; ++tile) {
      const std::int64_t first = tile / tiles * matrix.cols + tile % tiles * kScaleBlock;
      const std::int64_t count = std::min(kScaleBlock, matrix.cols - tile % tiles * kScaleBlock);
      const float* x = matrix.values.data() + first;
      float amax = 0;
      for (std::int64_t i = 0; i < count; ++i) amax = std::max(amax, std::abs(x[i]));
      const float scale = scale_of(amax);
      result.scales[static_cast<std::size_t>(tile)] = scale;
      std::array<std::uint16_t, kScaleBlock> codes;
      for (std::int64_t i = 0; i < count; ++i) codes[static_cast<std::size_t>(i)] = code_of(x[i] / scale);
      std::memcpy(result.codes.data() + 2 * first, codes.data(), 2 * static_cast<std::size_t>(count));
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
    for (std::int64_t tile = begin * tiles; tile < end * tiles; ++tile) {
      const std::int64_t column = tile % tiles * kScaleBlock;
      const std::int64_t first = tile / tiles * quantized.cols + column;
      const std::int64_t after = first + std::min(kScaleBlock, quantized.cols - column);
      const float scale = quantized.scales[static_cast<std::size_t>(tile)];
      for (std::int64_t i = first; i < after; ++i) {
        std::uint16_t code = 0;
        std::memcpy(&code, quantized.codes.data() + 2 * i, sizeof(code));
        values[static_cast<std::size_t>(i)] = table[code] * scale;
      }
    }
  });
  return values;
}

}  // namespace lastbit::numerics
