#include "numerics/quantize_nvfp4.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/gemm_paths.h"
#include "numerics/quantize_loops.h"

namespace lastbit::numerics {
namespace {

constexpr float kLargestCode = 6;
constexpr float kLargestScale = 448;
constexpr float kLargestFloat = std::numeric_limits<float>::max();
constexpr std::int64_t kRowsPerTask = 16;

template <std::size_t kCount>
std::array<float, kCount> values_of(Format format) {
  std::array<float, kCount> values{};
  for (std::uint32_t code = 0; code < kCount; ++code) values.at(code) = decode(code, format);
  return values;
}

}  // namespace

QuantizedNvfp4 quantize_nvfp4(const FloatMatrix& matrix, const std::string& what) {
  core::check(matrix.values.size() == static_cast<std::size_t>(matrix.rows * matrix.cols), "a matrix of its shape");
  const std::int64_t blocks = ceil_div(matrix.cols, kNvfp4Block);
  const auto at = [](std::int64_t index) { return static_cast<std::size_t>(index); };
  std::vector<std::uint32_t> magnitudes(at(matrix.rows * blocks));
  core::parallel_for(matrix.rows, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      raise_magnitudes(matrix.values.data() + i * matrix.cols, matrix.cols, kNvfp4Block,
                       magnitudes.data() + i * blocks);
  });
  const std::uint32_t largest = magnitudes.empty() ? 0 : *std::ranges::max_element(magnitudes);
  if (largest >= kInfinityBits) fail_not_finite(matrix, what);

  const auto amax = std::bit_cast<float>(largest);
  const float encode_scale = amax == 0 ? 1 : std::min(kLargestScale * kLargestCode / amax, kLargestFloat);
  QuantizedNvfp4 result{matrix.rows, matrix.cols, {}, {}, 1 / encode_scale};
  result.codes.resize(matrix.values.size());
  result.block_scales.resize(magnitudes.size());
  static const auto kScales = values_of<256>(Format::kE4M3);
  core::parallel_for(matrix.rows, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(at(blocks));
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint8_t* scales = result.block_scales.data() + i * blocks;
      for (std::int64_t j = 0; j < blocks; ++j)
        row[at(j)] = std::bit_cast<float>(magnitudes[at(i * blocks + j)]) / kLargestCode;
      encode_multiplied(row.data(), blocks, blocks, &encode_scale, Format::kE4M3, scales);
      for (std::int64_t j = 0; j < blocks; ++j)
        row[at(j)] = std::min(1 / (kScales.at(scales[j]) * result.tensor_scale), kLargestFloat);
      encode_multiplied(matrix.values.data() + i * matrix.cols, matrix.cols, kNvfp4Block, row.data(), Format::kE2M1,
                        reinterpret_cast<std::uint8_t*>(result.codes.data()) + i * matrix.cols);
    }
  });
  return result;
}

std::vector<float> dequantize_nvfp4(const QuantizedNvfp4& quantized) {
  static const auto kCodes = values_of<16>(Format::kE2M1);
  static const auto kScales = values_of<256>(Format::kE4M3);
  const std::int64_t blocks = ceil_div(quantized.cols, kNvfp4Block);
  std::vector<float> values(quantized.codes.size());
  for (std::int64_t i = 0; i < quantized.rows; ++i)
    for (std::int64_t j = 0; j < quantized.cols; ++j) {
      const auto place = static_cast<std::size_t>(i * quantized.cols + j);
      const std::uint8_t scale = quantized.block_scales[static_cast<std::size_t>(i * blocks + j / kNvfp4Block)];
      // Two and four significant bits: their product is exact.
      values[place] =
          kCodes.at(static_cast<std::size_t>(quantized.codes[place])) * kScales.at(scale) * quantized.tensor_scale;
    }
  return values;
}

}  // namespace lastbit::numerics
