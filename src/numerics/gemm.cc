#include "numerics/gemm.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/gemm_paths.h"
#include "numerics/parse.h"

namespace lastbit::numerics {
namespace {

constexpr std::array<const char*, 4> kPromotionNames = {"none", "deepgemm", "cublas", "muladd"};

// A tile of outputs is a task. Their shapes change no bit, so they may look at the number of threads.
constexpr std::int64_t kPlainTileRows = 32;
constexpr std::int64_t kPlainTileCols = 64;
constexpr std::int64_t kVectorTileRows = 1024;  // the more, the less often B is packed
// Columns of B packed at a time: the more, the less often A is packed; the buffers stay a small part of the operands.
constexpr std::int64_t kLeastTileCols = 256;
constexpr std::int64_t kMostTileCols = 1024;
constexpr std::size_t kBytesPerTileCol = std::size_t{8} << 10;  // of the operands
constexpr std::int64_t kLeastTileRows = 64;
constexpr std::int64_t kBufferedTileRows = 128;  // of tiles whose FP32 results wait in a buffer
constexpr std::int64_t kTasksPerThread = 4;

struct TileShape {
  std::int64_t rows;
  std::int64_t cols;
};

// To FP32.
bool aligned(const GemmOutput& output) {
  return reinterpret_cast<std::uintptr_t>(output.bytes.data()) % alignof(float) == 0;
}

// Whether a tile's FP32 results wait in a buffer rather than in D.
bool buffered(const GemmOutput& output) {
  return output.format != Format::kF32 || output.accumulate || !aligned(output);
}

// Of the first of `problems` like this one.
TileShape tile_shape(const GemmProblem& problem, const GemmOutput& output, bool vector, std::int64_t problems) {
  if (!vector) return {kPlainTileRows, kPlainTileCols};
  const CodeMatrix& a = problem.operands.a;
  const CodeMatrix& b = problem.operands.b;
  const std::size_t affordable = std::bit_floor((a.bytes.size() + b.bytes.size()) / kBytesPerTileCol);
  const std::int64_t cols = std::clamp(static_cast<std::int64_t>(affordable), kLeastTileCols, kMostTileCols);
  std::int64_t rows = buffered(output) ? kBufferedTileRows : kVectorTileRows;
  const std::int64_t wanted = kTasksPerThread * core::num_threads();
  if (core::num_threads() > 1)
    while (rows > kLeastTileRows && problems * ceil_div(a.rows, rows) * ceil_div(b.rows, cols) < wanted) rows /= 2;
  return {rows, cols};
}

// The FP32 results of one tile, whichever path gives them.
void compute_tile(const GemmProblem& problem, const OutputTile& tile, bool vector) {
  if (!vector) return gemm_tile_plain(problem, tile);
  const LinesLeft left = gemm_tile_vector(problem, tile);
  for (const std::int64_t row : left.rows)
    gemm_tile_plain(problem, {tile.row + row, 1, tile.col, tile.cols, tile.y + row * tile.stride, tile.stride});
  for (const std::int64_t col : left.cols)
    gemm_tile_plain(problem, {tile.row, tile.rows, tile.col + col, 1, tile.y + col, tile.stride});
}

float load_output(Format format, const std::byte* place) {
  if (format == Format::kF32) {
    float value = 0;
    std::memcpy(&value, place, sizeof(value));
    return value;
  }
  std::uint16_t code = 0;
  std::memcpy(&code, place, sizeof(code));
  return decode(code, format);
}

void store_output(Format format, float value, std::byte* place) {
  if (format == Format::kF32) {
    std::memcpy(place, &value, sizeof(value));
    return;
  }
  const EncodeOptions options{Rounding::kNearestEven, Overflow::kNone, Convention::kCuda};
  const auto code = static_cast<std::uint16_t>(encode(value, format, options));
  std::memcpy(place, &code, sizeof(code));
}

// Moves a tile's results from their buffer to D.
void write_tile(const OutputTile& tile, std::int64_t n, const GemmOutput& output) {
  const std::int64_t width = describe(output.format).storage_bytes;
  if (output.format == Format::kF32 && output.accumulate && aligned(output)) {  // weight gradients
    float* d = reinterpret_cast<float*>(output.bytes.data()) + tile.row * n + tile.col;
    for (std::int64_t i = 0; i < tile.rows; ++i)
      for (std::int64_t j = 0; j < tile.cols; ++j) d[i * n + j] = d[i * n + j] + tile.y[i * tile.stride + j];
    return;
  }
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    std::byte* place = output.bytes.data() + ((tile.row + i) * n + tile.col) * width;
    for (std::int64_t j = 0; j < tile.cols; ++j, place += width) {
      float value = tile.y[i * tile.stride + j];
      if (output.accumulate) value = load_output(output.format, place) + value;
      store_output(output.format, value, place);
    }
  }
}

// A problem of a batch, cut into tiles.
struct Tiled {
  GemmProblem problem;
  GemmOutput output;
  TileShape shape;
  std::int64_t first;      // tile, in the order of the batch
  std::int64_t tile_cols;  // tiles in a row of them

  [[nodiscard]] std::int64_t tiles() const { return ceil_div(problem.operands.a.rows, shape.rows) * tile_cols; }
};

void run_tile(const Tiled& tiled, std::int64_t index, bool vector) {
  const std::int64_t m = tiled.problem.operands.a.rows;
  const std::int64_t n = tiled.problem.operands.b.rows;
  const TileShape& shape = tiled.shape;
  OutputTile tile{};
  tile.row = index / tiled.tile_cols * shape.rows;
  tile.rows = std::min(shape.rows, m - tile.row);
  tile.col = index % tiled.tile_cols * shape.cols;
  tile.cols = std::min(shape.cols, n - tile.col);
  if (!buffered(tiled.output)) {
    tile.stride = n;
    tile.y = reinterpret_cast<float*>(tiled.output.bytes.data()) + tile.row * n + tile.col;
    return compute_tile(tiled.problem, tile, vector);
  }
  const auto buffer = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(tile.rows * tile.cols));
  tile.stride = tile.cols;
  tile.y = buffer.get();
  compute_tile(tiled.problem, tile, vector);
  write_tile(tile, n, tiled.output);
}

// All tiles of all problems, in any order.
void run(const MmaRule& rule, std::span<const GemmOperands> operands, Promotion promotion,
         std::span<const GemmOutput> outputs, bool vector) {
  std::vector<Tiled> batch;
  std::int64_t tiles = 0;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const GemmProblem problem{rule, operands[i], promotion};
    const TileShape shape = tile_shape(problem, outputs[i], vector, static_cast<std::int64_t>(operands.size()));
    batch.push_back({problem, outputs[i], shape, tiles, ceil_div(operands[i].b.rows, shape.cols)});
    tiles += batch.back().tiles();
  }
  core::parallel_for(tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto after = std::upper_bound(batch.begin(), batch.end(), i,
                                          [](std::int64_t tile, const Tiled& tiled) { return tile < tiled.first; });
      // Problems without a tile start where the next one does: the last that starts at or before i has it.
      const Tiled& tiled = *std::prev(after);
      run_tile(tiled, i - tiled.first, vector);
    }
  });
}

// One partial sum takes one scale: all tiles that meet an interval of K must share it.
void require_constant_scales(const GemmProblem& problem, std::span<const float> scales, const CodeMatrix& operand,
                             ScaleTile tile, const char* which) {
  if (scales.empty()) return;
  const std::int64_t every = problem.promotion.every;
  const ScaleShape shape = scale_shape(operand, tile);
  if (shape.columns <= 1 || tile.k % every == 0) return;
  if (every % tile.k != 0)
    core::fail_input(
        "promotion every {} elements: with scales of {} elements each ({}), expected a divisor or a "
        "multiple of {}",
        every, tile.k, which, tile.k);
  const std::int64_t tiles = every / tile.k;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(scales.size()); ++i) {
    const std::int64_t column = i % shape.columns;
    const float first = scales[static_cast<std::size_t>(i - column % tiles)];
    if (scales[static_cast<std::size_t>(i)] != first)
      core::fail_input(
          "{}[{}, {}] differs from the scale at the start of its interval of {} elements: promote every {}", which,
          i / shape.columns, column, every, tile.k);
  }
}

void require_valid(const GemmProblem& problem) {
  const GemmOperands& operands = problem.operands;
  if (!problem.promotes()) {
    if (!operands.scale_a.empty() || !operands.scale_b.empty())
      core::fail_input("scales are applied when partial sums are promoted, and promotion is none");
    return;
  }
  if (problem.promotion.every <= 0 || problem.promotion.every % problem.rule.step_k != 0)
    core::fail_input("promotion every {} elements: expected a positive multiple of the unit's step, {}",
                     problem.promotion.every, problem.rule.step_k);
  require_constant_scales(problem, operands.scale_a, operands.a, operands.tile_a, "scale_a");
  require_constant_scales(problem, operands.scale_b, operands.b, operands.tile_b, "scale_b");
}

void check_shapes(const MmaRule& rule, const GemmOperands& operands, const GemmOutput& output) {
  const CodeMatrix& a = operands.a;
  const CodeMatrix& b = operands.b;
  core::check(a.format == rule.a && b.format == rule.b && rule.d == Format::kF32, "operands of the rule's formats");
  core::check(a.cols == b.cols, "gemm() wants one K");
  const std::int64_t width = describe(output.format).storage_bytes;
  core::check(output.bytes.size() == static_cast<std::size_t>(a.rows * b.rows * width), "gemm() wants D of M * N");
  core::check(output.format == Format::kF32 || output.format == Format::kBF16 || output.format == Format::kF16,
              "gemm() writes FP32, BF16 or FP16");
  const auto fits = [](std::span<const float> scales, const CodeMatrix& operand, ScaleTile tile) {
    const ScaleShape shape = scale_shape(operand, tile);
    return scales.empty() || scales.size() == static_cast<std::size_t>(shape.rows * shape.columns);
  };
  core::check(fits(operands.scale_a, a, operands.tile_a) && fits(operands.scale_b, b, operands.tile_b),
              "gemm() wants one scale a tile");
}

GemmOutput fp32_output(std::span<float> d) { return {Format::kF32, std::as_writable_bytes(d), false}; }

}  // namespace

PromotionOrder find_promotion(std::string_view name) {
  return static_cast<PromotionOrder>(
      require_name("promotion", name, {std::begin(kPromotionNames), std::end(kPromotionNames)}));
}

std::string_view to_string(PromotionOrder order) { return kPromotionNames.at(static_cast<std::size_t>(order)); }

ScaleShape scale_shape(const CodeMatrix& operand, ScaleTile tile) {
  return {ceil_div(operand.rows, tile.rows), ceil_div(operand.cols, tile.k)};
}

void gemm_batch(const MmaRule& rule, std::span<const GemmOperands> operands, Promotion promotion,
                std::span<const GemmOutput> outputs) {
  core::check(operands.size() == outputs.size(), "gemm_batch() wants an output for each problem");
  for (std::size_t i = 0; i < operands.size(); ++i) {
    check_shapes(rule, operands[i], outputs[i]);
    require_valid({rule, operands[i], promotion});
  }
  run(rule, operands, promotion, outputs, vectorised(rule));
}

void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, const GemmOutput& output) {
  gemm_batch(rule, {&operands, 1}, promotion, {&output, 1});
}

void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d) {
  gemm(rule, operands, promotion, fp32_output(d));
}

void gemm_plain(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d) {
  const GemmOutput output = fp32_output(d);
  check_shapes(rule, operands, output);
  require_valid({rule, operands, promotion});
  run(rule, {&operands, 1}, promotion, {&output, 1}, false);
}

void require_usable_scales(std::span<const float> scales, std::int64_t columns, const std::string& what) {
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (std::isfinite(scales[i]) && scales[i] > 0) continue;
    const auto index = static_cast<std::int64_t>(i);
    core::fail_input("{}: the scale at [{}, {}] is {}, expected a positive finite number", what, index / columns,
                     index % columns, scales[i]);
  }
}

}  // namespace lastbit::numerics
