#include "numerics/matmul.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/matmul_tiles.h"

namespace lastbit::numerics {
namespace {

// Outputs a tile at most, along strips and along lanes. The block of K of so many strip lines, 240 KiB, stays in the
// second-level cache; 240 is a multiple of every strip's height, so that tiles seldom end in a short one. Along the
// lanes more would only save packing strips again.
constexpr std::int64_t kTileBytes = 960;
constexpr std::int64_t kTileLanes = 512;
// A few rows stream the other operand once: long pieces of its lines.
constexpr std::int64_t kFewRows = 3;
constexpr std::int64_t kFewRowsLanes = 4096;
// Where threads want more tiles, they are halved down to these; and a task has at least so many multiply-adds.
constexpr std::int64_t kLeastRows = 24;
constexpr std::int64_t kLeastLanes = 64;
constexpr double kLeastTask = 1 << 18;
constexpr double kTasksAThread = 4;  // so that the last ones end together

template <typename T>
double products(const MatmulProblem<T>& problem) {
  return static_cast<double>(problem.a.rows) * static_cast<double>(problem.b.cols) *
         static_cast<double>(problem.a.cols);
}

template <typename T>
void check_view(const MatrixView<T>& view) {
  core::check(view.rows >= 0 && view.cols >= 0, "matmul: sizes are at least 0");
  core::check(view.stride >= (view.transposed ? view.rows : view.cols), "matmul: lines do not overlap");
}

template <typename T>
void check_problem(const MatmulProblem<T>& problem) {
  check_view(problem.a);
  check_view(problem.b);
  core::check(problem.a.cols == problem.b.rows, "matmul: a [M, K] and b [K, N]");
  core::check(problem.d_stride >= problem.b.cols, "matmul: rows of d do not overlap");
}

// Whether a's rows rather than b's columns should lie along the lanes: whichever costs less, in cycles of AVX2 a value
// of K, to multiply and to pack. The constants were measured on Zen 4; no bit depends on them.
template <typename T>
bool turns(const MatmulProblem<T>& problem) {
  constexpr double kProductsACycle = 64.0 / sizeof(T);
  constexpr std::int64_t kVector = 32 / sizeof(T);
  constexpr double kTranspose = 0.3;  // an element into a panel
  constexpr double kCopy = 0.1;
  constexpr double kPackStrip = 0.2;
  constexpr double kTransposeOutput = 1.0;
  const auto cost = [&](const OperandLines<T>& strips, std::int64_t rows, const OperandLines<T>& lanes,
                        std::int64_t cols) {
    const std::int64_t padded_cols = (cols + kVector - 1) / kVector * kVector;
    const auto padded = static_cast<double>(padded_cols);
    const double lane_cost = lanes.k_step == 1 && rows > kFewRows ? kTranspose : kCopy;
    const double strip_cost = strips.k_step == 1 ? 0 : kPackStrip;
    return static_cast<double>(rows) * padded / kProductsACycle + padded * lane_cost +
           static_cast<double>(rows) * strip_cost;
  };
  const OperandLines<T> a = lines_of_a(problem.a);
  const OperandLines<T> b = lines_of_b(problem.b);
  const std::int64_t m = problem.a.rows;
  const std::int64_t n = problem.b.cols;
  const double output = static_cast<double>(m * n) * kTransposeOutput * (problem.accumulate ? 2 : 1);
  const double per_k = output / static_cast<double>(std::max<std::int64_t>(problem.a.cols, 1));
  return cost(b, n, a, m) + per_k < cost(a, m, b, n);
}

// Sizes of a part when `size` is cut into `count`: multiples of `step`.
std::int64_t part_size(std::int64_t size, std::int64_t count, std::int64_t step) {
  return parts(parts(size, count), step) * step;
}

template <typename T>
void add_tiles(const MatmulProblem<T>& problem, double task, std::vector<MatmulTile<T>>& tiles) {
  const std::int64_t m = problem.a.rows;
  const std::int64_t n = problem.b.cols;
  if (m == 0 || n == 0) return;
  const bool turned = turns(problem);
  const std::int64_t rows = turned ? n : m;
  const std::int64_t lanes = turned ? m : n;
  std::int64_t row_parts = parts(rows, kTileBytes / static_cast<std::int64_t>(sizeof(T)));
  std::int64_t lane_parts = parts(lanes, rows <= kFewRows ? kFewRowsLanes : kTileLanes);
  while (products(problem) > task * static_cast<double>(row_parts * lane_parts)) {
    if (lanes >= 2 * lane_parts * kLeastLanes)
      lane_parts *= 2;
    else if (rows >= 2 * row_parts * kLeastRows)
      row_parts *= 2;
    else
      break;
  }
  const std::int64_t row_step = part_size(rows, row_parts, kLeastRows / 2);
  const std::int64_t lane_step = part_size(lanes, lane_parts, kLeastLanes);
  const std::int64_t step_m = turned ? lane_step : row_step;
  const std::int64_t step_n = turned ? row_step : lane_step;
  for (std::int64_t i = 0; i < m; i += step_m)
    for (std::int64_t j = 0; j < n; j += step_n)
      tiles.push_back({&problem, i, std::min(step_m, m - i), j, std::min(step_n, n - j), turned});
}

// K = 0.
template <typename T>
void fill_empty(const MatmulTile<T>& tile) {
  if (tile.problem->accumulate) return;
  const std::int64_t stride = tile.problem->d_stride;
  for (std::int64_t i = tile.row; i < tile.row + tile.rows; ++i)
    std::fill_n(tile.problem->d + i * stride + tile.col, tile.cols, T{0});
}

template <typename T>
void run_batch(std::span<const MatmulProblem<T>> problems) {
  double total = 0;
  for (const MatmulProblem<T>& problem : problems) {
    check_problem(problem);
    total += products(problem);
  }
  const int threads = core::num_threads();
  const double tasks = threads > 1 ? kTasksAThread * threads : 1;
  const double task = std::max(total / tasks, kLeastTask);
  std::vector<MatmulTile<T>> tiles;
  tiles.reserve(problems.size());
  for (const MatmulProblem<T>& problem : problems) add_tiles(problem, task, tiles);
  const auto count = static_cast<std::int64_t>(tiles.size());
  const double average = total / static_cast<double>(std::max<std::int64_t>(count, 1));
  const auto grain = static_cast<std::int64_t>(kLeastTask / std::max(average, 1.0));
  core::parallel_for(count, std::max<std::int64_t>(grain, 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const MatmulTile<T>& tile = tiles[static_cast<std::size_t>(i)];
      if (tile.problem->a.cols == 0)
        fill_empty(tile);
      else
        matmul_tile_vector(tile, i + 1 < end && (&tile + 1)->problem->a.cols > 0 ? &tile + 1 : nullptr);
    }
  });
}

template <typename T>
void tile_plain(const MatmulTile<T>& tile) {
  const MatmulProblem<T>& problem = *tile.problem;
  const OperandLines<T> a = lines_of_a(problem.a);
  const OperandLines<T> b = lines_of_b(problem.b);
  const std::int64_t depth = problem.a.cols;
  for (std::int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    for (std::int64_t j = tile.col; j < tile.col + tile.cols; ++j) {
      T& d = problem.d[i * problem.d_stride + j];
      if (depth == 0 && !problem.accumulate) d = 0;
      for (std::int64_t block = 0; block < depth; block += kMatmulBlockK) {
        const std::int64_t end = std::min(block + kMatmulBlockK, depth);
        T partial = 0;
        for (std::int64_t k = block; k < end; ++k) partial = std::fma(*a.at(i, k), *b.at(j, k), partial);
        d = block == 0 && !problem.accumulate ? partial : d + partial;
      }
    }
  }
}

template <typename T>
void run_plain(const MatmulProblem<T>& problem) {
  check_problem(problem);
  tile_plain(MatmulTile<T>{&problem, 0, problem.a.rows, 0, problem.b.cols, false});
}

}  // namespace

void matmul(const MatmulProblem<float>& problem) { run_batch(std::span(&problem, 1)); }
void matmul(const MatmulProblem<double>& problem) { run_batch(std::span(&problem, 1)); }

void matmul_batch(std::span<const MatmulProblem<float>> problems) { run_batch(problems); }
void matmul_batch(std::span<const MatmulProblem<double>> problems) { run_batch(problems); }

void matmul_plain(const MatmulProblem<float>& problem) { run_plain(problem); }
void matmul_plain(const MatmulProblem<double>& problem) { run_plain(problem); }

void matmul_tile_plain(const MatmulTile<float>& tile) { tile_plain(tile); }
void matmul_tile_plain(const MatmulTile<double>& tile) { tile_plain(tile); }

}  // namespace lastbit::numerics
