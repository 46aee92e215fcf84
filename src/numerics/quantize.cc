#include "numerics/quantize.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/gemm_paths.h"
#include "numerics/parse.h"
#include "numerics/quantize_loops.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kChunkRows = 64;    // rows of a task, where a tile has more
constexpr std::int64_t kTurnedRows = 128;  // rows turned at a time
constexpr std::int64_t kTurnedGroups = 4;  // of such rows in a task

float largest_number(Format format) { return decode(describe(format).max_finite_code(), format); }

// "exponent + (mantissa != 0)": up to a power of two, in UE8M0's range 2^-126 .. 2^127.
float round_up_to_power(float scale) {
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  const std::uint32_t exponent = (bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1 : 0);
  return std::bit_cast<float>(std::clamp(exponent, 1u, 254u) << 23);
}

// What a tile is quantised by.
struct TileScale {
  float scale;   // q stands for q * scale
  float factor;  // of x, by QuantizeRule::method: a divisor or a multiplier
};

// `largest`: the format's largest number.
TileScale scale_of(float amax, const QuantizeRule& rule, float largest) {
  if (rule.zero_block == ZeroBlock::kEpsilon) amax = std::max(amax, rule.amax_epsilon);
  float scale = amax / largest;
  if (scale == 0) return {1, 1};  // amax is 0, or so small that no scale stands for it
  const bool power = rule.scale == ScaleKind::kUe8m0;
  if (power) scale = round_up_to_power(scale);
  if (rule.method == QuantizeMethod::kDivision) return {scale, scale};
  return {scale, power ? 1 / scale : std::min(largest / amax, std::numeric_limits<float>::max())};
}

// Rows [begin, end) under one scale a segment of a line.
struct Lines {
  const FloatMatrix& matrix;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t segment;

  [[nodiscard]] const float* row(std::int64_t i) const { return matrix.values.data() + i * matrix.cols; }

  // Raises bits [segments of a line] to the rows' largest magnitudes.
  void raise(std::uint32_t* bits) const {
    for (std::int64_t i = begin; i < end; ++i) raise_magnitudes(row(i), matrix.cols, segment, bits);
  }

  void encode(const float* factors, QuantizeMethod method, Format format, std::byte* codes) const {
    for (std::int64_t i = begin; i < end; ++i) {
      auto* line = reinterpret_cast<std::uint8_t*>(codes) + i * matrix.cols;
      if (method == QuantizeMethod::kDivision)
        encode_divided(row(i), matrix.cols, segment, factors, format, line);
      else
        encode_multiplied(row(i), matrix.cols, segment, factors, format, line);
    }
  }
};

// From magnitudes (bit patterns) of the tiles of one row of tiles to their scales, and the factors of x. False if one
// is not finite.
bool choose_scales(std::span<const std::uint32_t> magnitudes, const QuantizeRule& rule, float* scales, float* factors) {
  const float largest = largest_number(rule.format);
  for (const std::uint32_t magnitude : magnitudes) {
    if (magnitude >= kInfinityBits) return false;
    const TileScale scale = scale_of(std::bit_cast<float>(magnitude), rule, largest);
    *scales++ = scale.scale;
    *factors++ = scale.factor;
  }
  return true;
}

// Tiles of few rows: each row of tiles is read for its magnitudes and, still at hand, for its codes.
bool quantize_low_tiles(const FloatMatrix& matrix, const QuantizeRule& rule, Quantized& result) {
  const std::int64_t tile_cols = ceil_div(matrix.cols, rule.tile.k);
  const std::int64_t tiles = std::max<std::int64_t>(1, kChunkRows / rule.tile.rows);
  std::atomic<bool> finite{true};
  core::parallel_for(ceil_div(matrix.rows, rule.tile.rows), tiles, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> magnitudes;
    std::vector<float> factors(static_cast<std::size_t>(tile_cols));
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const Lines lines{matrix, tile * rule.tile.rows, std::min(matrix.rows, (tile + 1) * rule.tile.rows), rule.tile.k};
      magnitudes.assign(static_cast<std::size_t>(tile_cols), 0);
      lines.raise(magnitudes.data());
      if (!choose_scales(magnitudes, rule, result.scales.data() + tile * tile_cols, factors.data())) finite = false;
      if (finite) lines.encode(factors.data(), rule.method, rule.format, result.codes.data());
    }
  });
  return finite;
}

// Tiles of many rows: parts of them give their magnitudes first.
bool quantize_high_tiles(const FloatMatrix& matrix, const QuantizeRule& rule, Quantized& result) {
  const auto tile_cols = static_cast<std::size_t>(ceil_div(matrix.cols, rule.tile.k));
  const std::int64_t parts = ceil_div(rule.tile.rows, kChunkRows);  // of a tile
  const std::int64_t all = ceil_div(matrix.rows, rule.tile.rows) * parts;
  const auto lines_of = [&](std::int64_t part) {
    const std::int64_t begin = part / parts * rule.tile.rows + part % parts * kChunkRows;
    const std::int64_t end = std::min(begin + kChunkRows, (part / parts + 1) * rule.tile.rows);
    return Lines{matrix, std::min(begin, matrix.rows), std::min(end, matrix.rows), rule.tile.k};
  };
  std::vector<std::uint32_t> magnitudes(static_cast<std::size_t>(all) * tile_cols);
  core::parallel_for(all, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part)
      lines_of(part).raise(magnitudes.data() + static_cast<std::size_t>(part) * tile_cols);
  });
  std::vector<float> factors(result.scales.size());
  std::vector<std::uint32_t> largest(tile_cols);
  for (std::int64_t tile = 0; tile < all / parts; ++tile) {
    std::ranges::fill(largest, 0u);
    for (std::int64_t part = tile * parts; part < (tile + 1) * parts; ++part)
      for (std::size_t j = 0; j < tile_cols; ++j)
        largest[j] = std::max(largest[j], magnitudes[static_cast<std::size_t>(part) * tile_cols + j]);
    const std::size_t first = static_cast<std::size_t>(tile) * tile_cols;
    if (!choose_scales(largest, rule, result.scales.data() + first, factors.data() + first)) return false;
  }
  core::parallel_for(all, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part)
      lines_of(part).encode(factors.data() + static_cast<std::size_t>(part / parts) * tile_cols, rule.method,
                            rule.format, result.codes.data());
  });
  return true;
}

Quantized empty_result(const FloatMatrix& matrix, Format format, ScaleTile tile) {
  Quantized result{format, matrix.rows, matrix.cols, tile, std::vector<std::byte>(matrix.values.size()), {}};
  const ScaleShape shape = scale_shape(result.matrix(), tile);
  result.scales.resize(static_cast<std::size_t>(shape.rows * shape.columns));
  return result;
}

void require_quantizable(Format format, ScaleTile tile) {
  if (format != Format::kE4M3 && format != Format::kE5M2 && format != Format::kE2M1)
    core::fail_input("quantisation to {}: expected e4m3, e5m2 or e2m1", name(format));
  core::check(tile.rows >= 1 && tile.k >= 1, "a tile has at least one element");
}

// to[j * stride + i] = codes[i, j].
void turn(const std::vector<std::byte>& codes, std::int64_t rows, std::int64_t cols, std::byte* to,
          std::int64_t stride) {
  transpose_bytes(reinterpret_cast<const std::uint8_t*>(codes.data()), rows, cols, cols,
                  reinterpret_cast<std::uint8_t*>(to), stride);
}

Quantized turned(const Quantized& quantized) {
  Quantized result{quantized.format, quantized.cols, quantized.rows, {quantized.tile.k, quantized.tile.rows}, {}, {}};
  result.codes.resize(quantized.codes.size());
  turn(quantized.codes, quantized.rows, quantized.cols, result.codes.data(), quantized.rows);
  const ScaleShape shape = scale_shape(quantized.matrix(), quantized.tile);
  for (std::int64_t j = 0; j < shape.columns; ++j)
    for (std::int64_t i = 0; i < shape.rows; ++i)
      result.scales.push_back(quantized.scales[static_cast<std::size_t>(i * shape.columns + j)]);
  return result;
}

std::int64_t parse_extent(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

void fail_not_finite(const FloatMatrix& matrix, const std::string& what) {
  for (std::int64_t i = 0; i < matrix.rows; ++i)
    for (std::int64_t j = 0; j < matrix.cols; ++j) {
      const float value = matrix.values[static_cast<std::size_t>(i * matrix.cols + j)];
      if (!std::isfinite(value))
        core::fail_input("{}: the value at [{}, {}] is {}, expected finite numbers", what, i, j, value);
    }
  core::fail_input("{}: not all values are finite", what);
}

ScaleKind find_scale_kind(std::string_view name) {
  return static_cast<ScaleKind>(require_name("scale", name, {"fp32", "ue8m0"}));
}

QuantizeMethod find_quantize_method(std::string_view name) {
  return static_cast<QuantizeMethod>(require_name("method", name, {"division", "reciprocal"}));
}

ZeroBlock find_zero_block(std::string_view name) {
  return static_cast<ZeroBlock>(require_name("zero block", name, {"one", "epsilon"}));
}

ScaleTile find_scale_tile(std::string_view name, std::int64_t rows, std::int64_t cols) {
  if (name == "row") return {1, std::max<std::int64_t>(cols, 1)};
  if (name == "tensor") return {std::max<std::int64_t>(rows, 1), std::max<std::int64_t>(cols, 1)};
  if (name == "mx") return {1, 32};
  const std::size_t by = name.find('x');
  const ScaleTile tile{parse_extent(name.substr(0, by)),
                       by == std::string_view::npos ? 0 : parse_extent(name.substr(by + 1))};
  if (tile.rows < 1 || tile.k < 1)
    core::fail_input("tile: found '{}', expected ROWSxCOLS such as 1x128, or mx, row or tensor", name);
  return tile;
}

Quantized quantize(const FloatMatrix& matrix, const QuantizeRule& rule, const std::string& what) {
  require_quantizable(rule.format, rule.tile);
  core::check(matrix.values.size() == static_cast<std::size_t>(matrix.rows * matrix.cols), "a matrix of its shape");
  Quantized result = empty_result(matrix, rule.format, rule.tile);
  const bool low = rule.tile.rows <= 2 * kChunkRows;
  const bool finite = low ? quantize_low_tiles(matrix, rule, result) : quantize_high_tiles(matrix, rule, result);
  if (!finite) fail_not_finite(matrix, what);
  return result;
}

Quantized quantize_transposed(const FloatMatrix& matrix, const QuantizeRule& rule, const std::string& what) {
  QuantizeRule along = rule;
  along.tile = {rule.tile.k, rule.tile.rows};
  if (along.tile.rows > kTurnedRows) return turned(quantize(matrix, along, what));
  require_quantizable(rule.format, rule.tile);
  Quantized result = empty_result({matrix.values, matrix.cols, matrix.rows}, rule.format, rule.tile);
  const std::int64_t scale_columns = scale_shape(result.matrix(), rule.tile).columns;
  const std::int64_t group = kTurnedRows / along.tile.rows * along.tile.rows;
  std::atomic<bool> finite{true};
  // A group of rows is quantised into a buffer, which is used again, and turned from there while it is at hand.
  core::parallel_for(ceil_div(matrix.rows, group), kTurnedGroups, [&](std::int64_t first, std::int64_t last) {
    Quantized part;
    for (std::int64_t begin = first * group; begin < std::min(last * group, matrix.rows); begin += group) {
      const std::int64_t rows = std::min(group, matrix.rows - begin);
      const FloatMatrix lines{matrix.values.subspan(static_cast<std::size_t>(begin * matrix.cols),
                                                    static_cast<std::size_t>(rows * matrix.cols)),
                              rows, matrix.cols};
      if (part.rows != rows) part = empty_result(lines, rule.format, along.tile);
      if (!quantize_low_tiles(lines, along, part)) finite = false;
      turn(part.codes, rows, matrix.cols, result.codes.data() + begin, matrix.rows);
      const ScaleShape shape = scale_shape(part.matrix(), along.tile);
      for (std::int64_t i = 0; i < shape.rows; ++i)
        for (std::int64_t j = 0; j < shape.columns; ++j)
          result.scales[static_cast<std::size_t>(j * scale_columns + begin / along.tile.rows + i)] =
              part.scales[static_cast<std::size_t>(i * shape.columns + j)];
    }
  });
  if (!finite) fail_not_finite(matrix, what);
  return result;
}

Quantized quantize_with(const FloatMatrix& matrix, Format format, ScaleTile tile, std::vector<float> scales,
                        const std::string& what) {
  require_quantizable(format, tile);
  Quantized result = empty_result(matrix, format, tile);
  core::check(scales.size() == result.scales.size(), "a scale for each tile");
  const std::int64_t tile_cols = ceil_div(matrix.cols, tile.k);
  require_usable_scales(scales, std::max<std::int64_t>(tile_cols, 1), what);
  if (!std::ranges::all_of(matrix.values, [](float value) { return std::isfinite(value); }))
    fail_not_finite(matrix, what);
  result.scales = std::move(scales);
  core::parallel_for(matrix.rows, kChunkRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      Lines{matrix, i, i + 1, tile.k}.encode(result.scales.data() + i / tile.rows * tile_cols,
                                             QuantizeMethod::kDivision, format, result.codes.data());
  });
  return result;
}

std::vector<float> dequantize(const Quantized& quantized) {
  std::vector<float> values(static_cast<std::size_t>(quantized.rows * quantized.cols));
  std::vector<float> table(256);
  const std::uint32_t codes = 2 * describe(quantized.format).sign_code();
  for (std::uint32_t code = 0; code < codes; ++code) table[code] = decode(code, quantized.format);
  const std::int64_t columns = scale_shape(quantized.matrix(), quantized.tile).columns;
  core::parallel_for(quantized.rows, kChunkRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::byte* code = quantized.codes.data() + i * quantized.cols;
      float* value = values.data() + i * quantized.cols;
      for (std::int64_t first = 0; first < quantized.cols; first += quantized.tile.k) {
        const std::int64_t after = std::min(first + quantized.tile.k, quantized.cols);
        const float scale = scale_at(quantized.scales, quantized.tile, columns, i, first);
        for (std::int64_t j = first; j < after; ++j) value[j] = table[static_cast<std::size_t>(code[j])] * scale;
      }
    }
  });
  return values;
}

QuantizationError quantization_error(std::span<const float> exact, std::span<const float> approximation) {
  core::check(exact.size() == approximation.size(), "as many values as approximations");
  QuantizationError error;
  double squares = 0;
  double differences = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double difference = static_cast<double>(approximation[i]) - static_cast<double>(exact[i]);
    squares += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    differences += difference * difference;
    error.max_absolute = std::max(error.max_absolute, std::abs(difference));
  }
  if (squares > 0) error.relative_frobenius = std::sqrt(differences / squares);
  return error;
}

Quantized requantize(const Quantized& quantized, const QuantizeRule& rule, QuantizationError* error) {
  const std::vector<float> values = dequantize(quantized);
  Quantized result = quantize({values, quantized.rows, quantized.cols}, rule, "requantised codes");
  if (error != nullptr) *error = quantization_error(values, dequantize(result));
  return result;
}

DelayedScaling::DelayedScaling(const QuantizeRule& rule, std::size_t history_length)
    : rule_(rule), history_(history_length, 0.0F) {
  core::check(history_length >= 1, "a history of at least one step");
}

float DelayedScaling::scale() const {
  const float amax = *std::ranges::max_element(history_);
  return amax == 0 ? 1 : scale_of(amax, rule_, largest_number(rule_.format)).scale;
}

void DelayedScaling::end_step(float amax) {
  if (!std::isfinite(amax) || amax < 0)
    core::fail_input("delayed scaling: found an amax of {}, expected a finite magnitude", amax);
  history_[next_] = amax;
  next_ = (next_ + 1) % history_.size();
}

std::vector<float> DelayedScaling::history() const {
  std::vector<float> steps(history_);
  std::rotate(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(next_), steps.end());
  return steps;
}

}  // namespace lastbit::numerics
