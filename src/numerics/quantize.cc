#include "numerics/quantize.h"

#include <algorithm>
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

constexpr std::int64_t kChunkRows = 64;   // rows of a task, where a tile has more
constexpr std::int64_t kBlockCols = 256;  // columns transposed at a time

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

TileScale scale_of(float amax, const QuantizeRule& rule) {
  const float largest = largest_number(rule.format);
  if (rule.zero_block == ZeroBlock::kEpsilon) amax = std::max(amax, rule.amax_epsilon);
  float scale = amax / largest;
  if (scale == 0) return {1, 1};  // amax is 0, or so small that no scale stands for it
  const bool power = rule.scale == ScaleKind::kUe8m0;
  if (power) scale = round_up_to_power(scale);
  if (rule.method == QuantizeMethod::kDivision) return {scale, scale};
  return {scale, power ? 1 / scale : std::min(largest / amax, std::numeric_limits<float>::max())};
}

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

// Rows of one task: a few whole tiles, or a part of one.
std::vector<Range> row_chunks(std::int64_t rows, std::int64_t tile_rows) {
  std::vector<Range> chunks;
  const bool split = tile_rows > kChunkRows;
  const std::int64_t tiles = split ? tile_rows : kChunkRows / tile_rows * tile_rows;
  const std::int64_t step = split ? kChunkRows : tiles;
  for (std::int64_t begin = 0; begin < rows; begin += tiles)
    for (std::int64_t part = begin; part < std::min(rows, begin + tiles); part += step)
      chunks.push_back({part, std::min({rows, begin + tiles, part + step})});
  return chunks;
}

[[noreturn]] void fail_not_finite(const FloatMatrix& matrix, const std::string& what) {
  for (std::int64_t i = 0; i < matrix.rows; ++i)
    for (std::int64_t j = 0; j < matrix.cols; ++j) {
      const float value = matrix.values[static_cast<std::size_t>(i * matrix.cols + j)];
      if (!std::isfinite(value))
        core::fail_input("{}: the value at [{}, {}] is {}, expected finite numbers", what, i, j, value);
    }
  core::fail_input("{}: not all values are finite", what);
}

// Quantises a matrix in two passes: the largest magnitude of each tile, then the codes.
class Quantizer {
 public:
  Quantizer(const FloatMatrix& matrix, Format format, ScaleTile tile)
      : matrix_(matrix), tile_(tile), chunks_(row_chunks(matrix.rows, tile.rows)) {
    result_.format = format;
    result_.rows = matrix.rows;
    result_.cols = matrix.cols;
    result_.tile = tile;
    result_.codes.resize(matrix.values.size());
    tile_rows_ = ceil_div(matrix.rows, tile.rows);
    tile_cols_ = ceil_div(matrix.cols, tile.k);
  }

  // The bit patterns of each tile's largest magnitude, [tile rows, tile columns].
  [[nodiscard]] std::vector<std::uint32_t> magnitudes() const {
    const auto tile_cols = static_cast<std::size_t>(tile_cols_);
    std::vector<std::uint32_t> magnitudes(static_cast<std::size_t>(tile_rows_) * tile_cols);
    // A tile of several chunks: each has its own maxima first.
    const bool split = tile_.rows > kChunkRows;
    std::vector<std::uint32_t> parts(split ? chunks_.size() * tile_cols : 0);
    core::parallel_for(static_cast<std::int64_t>(chunks_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t c = begin; c < end; ++c) {
        const Range& rows = chunks_[static_cast<std::size_t>(c)];
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          raise(row, split ? parts.data() + static_cast<std::size_t>(c) * tile_cols
                           : magnitudes.data() + static_cast<std::size_t>(row / tile_.rows) * tile_cols);
      }
    });
    for (std::size_t c = 0; split && c < chunks_.size(); ++c)
      for (std::size_t j = 0; j < tile_cols; ++j) {
        std::uint32_t& largest = magnitudes[static_cast<std::size_t>(chunks_[c].begin / tile_.rows) * tile_cols + j];
        largest = std::max(largest, parts[c * tile_cols + j]);
      }
    return magnitudes;
  }

  // The codes under `factors` [tile rows, tile columns].
  [[nodiscard]] Quantized codes(const std::vector<float>& factors, QuantizeMethod method) && {
    core::parallel_for(static_cast<std::int64_t>(chunks_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t c = begin; c < end; ++c)
        for (std::int64_t row = chunks_[static_cast<std::size_t>(c)].begin;
             row < chunks_[static_cast<std::size_t>(c)].end; ++row)
          encode_row(row, factors.data() + row / tile_.rows * tile_cols_, method);
    });
    return std::move(result_);
  }

  Quantized& result() { return result_; }

 private:
  [[nodiscard]] const float* row_values(std::int64_t row) const { return matrix_.values.data() + row * matrix_.cols; }

  void raise(std::int64_t row, std::uint32_t* magnitudes) const {
    const float* x = row_values(row);
    if (tile_.k == 1) return raise_magnitudes(x, matrix_.cols, magnitudes);
    for (std::int64_t j = 0; j < tile_cols_; ++j) {
      const std::int64_t col = j * tile_.k;
      magnitudes[j] = std::max(magnitudes[j], largest_magnitude(x + col, std::min(tile_.k, matrix_.cols - col)));
    }
  }

  void encode_row(std::int64_t row, const float* factors, QuantizeMethod method) {
    const float* x = row_values(row);
    auto* codes = reinterpret_cast<std::uint8_t*>(result_.codes.data()) + row * matrix_.cols;
    const bool divide = method == QuantizeMethod::kDivision;
    if (tile_.k == 1) {
      divide ? encode_divided(x, matrix_.cols, factors, result_.format, codes)
             : encode_multiplied(x, matrix_.cols, factors, result_.format, codes);
      return;
    }
    for (std::int64_t j = 0; j < tile_cols_; ++j) {
      const std::int64_t col = j * tile_.k;
      const std::int64_t count = std::min(tile_.k, matrix_.cols - col);
      divide ? encode_divided(x + col, count, factors[j], result_.format, codes + col)
             : encode_multiplied(x + col, count, factors[j], result_.format, codes + col);
    }
  }

  const FloatMatrix& matrix_;
  ScaleTile tile_;
  std::vector<Range> chunks_;
  std::int64_t tile_rows_ = 0;
  std::int64_t tile_cols_ = 0;
  Quantized result_;
};

void require_quantizable(Format format, ScaleTile tile) {
  if (format != Format::kE4M3 && format != Format::kE5M2)
    core::fail_input("quantisation to {}: expected e4m3 or e5m2", name(format));
  core::check(tile.rows >= 1 && tile.k >= 1, "a tile has at least one element");
}

template <typename Element>
std::vector<Element> transposed(std::span<const Element> values, std::int64_t rows, std::int64_t cols) {
  std::vector<Element> result(values.size());
  core::parallel_for(cols, kBlockCols, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = begin; j < end; ++j)
        result[static_cast<std::size_t>(j * rows + i)] = values[static_cast<std::size_t>(i * cols + j)];
  });
  return result;
}

std::int64_t parse_extent(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

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
  Quantizer quantizer(matrix, rule.format, rule.tile);
  std::vector<float> factors;
  std::vector<float> scales;
  for (const std::uint32_t magnitude : quantizer.magnitudes()) {
    if (magnitude >= kInfinityBits) fail_not_finite(matrix, what);
    const TileScale scale = scale_of(std::bit_cast<float>(magnitude), rule);
    factors.push_back(scale.factor);
    scales.push_back(scale.scale);
  }
  quantizer.result().scales = std::move(scales);
  return std::move(quantizer).codes(factors, rule.method);
}

Quantized quantize_transposed(const FloatMatrix& matrix, const QuantizeRule& rule, const std::string& what) {
  QuantizeRule along = rule;
  along.tile = {rule.tile.k, rule.tile.rows};
  Quantized quantized = quantize(matrix, along, what);
  const ScaleShape scales = scale_shape(quantized.matrix(), along.tile);
  quantized.codes = transposed<std::byte>(quantized.codes, matrix.rows, matrix.cols);
  quantized.scales = transposed<float>(quantized.scales, scales.rows, scales.columns);
  quantized.tile = rule.tile;
  std::swap(quantized.rows, quantized.cols);
  return quantized;
}

Quantized quantize_with(const FloatMatrix& matrix, Format format, ScaleTile tile, std::vector<float> scales,
                        const std::string& what) {
  require_quantizable(format, tile);
  Quantizer quantizer(matrix, format, tile);
  const std::vector<std::uint32_t> magnitudes = quantizer.magnitudes();
  core::check(scales.size() == magnitudes.size(), "a scale for each tile");
  require_usable_scales(scales, std::max<std::int64_t>(ceil_div(matrix.cols, tile.k), 1), what);
  if (std::ranges::any_of(magnitudes, [](std::uint32_t magnitude) { return magnitude >= kInfinityBits; }))
    fail_not_finite(matrix, what);
  quantizer.result().scales = scales;
  return std::move(quantizer).codes(scales, QuantizeMethod::kDivision);
}

std::vector<float> dequantize(const Quantized& quantized) {
  std::vector<float> values(static_cast<std::size_t>(quantized.rows * quantized.cols));
  std::vector<float> table;
  for (std::uint32_t code = 0; code < 256; ++code) table.push_back(decode(code, quantized.format));
  const std::int64_t columns = scale_shape(quantized.matrix(), quantized.tile).columns;
  core::parallel_for(quantized.rows, kChunkRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < quantized.cols; ++j) {
        const auto place = static_cast<std::size_t>(i * quantized.cols + j);
        values[place] = table[static_cast<std::size_t>(quantized.codes[place])] *
                        scale_at(quantized.scales, quantized.tile, columns, i, j);
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

DelayedScaling::DelayedScaling(Format format, std::size_t history_length)
    : format_(format), history_(history_length, 0.0F) {
  core::check(history_length >= 1, "a history of at least one step");
}

float DelayedScaling::scale() const {
  const float amax = *std::ranges::max_element(history_);
  const float scale = amax / largest_number(format_);
  return scale == 0 ? 1 : scale;
}

void DelayedScaling::end_step(float amax) {
  if (!std::isfinite(amax) || amax < 0)
    core::fail_input("delayed scaling: found an amax of {}, expected a finite magnitude", amax);
  history_[next_] = amax;
  next_ = (next_ + 1) % history_.size();
}

}  // namespace lastbit::numerics
