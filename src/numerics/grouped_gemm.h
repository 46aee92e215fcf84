// Grouped GEMM: every row of A meets the B of its group, as tokens meet experts. Layouts as in DeepGEMM.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "numerics/gemm.h"

namespace lastbit::numerics {

// The weights of all groups.
struct GroupedWeights {
  Format format;
  std::int64_t groups;
  std::int64_t rows;                 // N of one group
  std::int64_t cols;                 // K
  std::span<const std::byte> bytes;  // [groups, N, K]; transposed: [groups, K, N]
  bool transposed = false;
  std::span<const float> scales;  // [groups, ceil(N/tile.rows), ceil(K/tile.k)], or empty: 1
  ScaleTile tile = {kScaleBlock, kScaleBlock};
};

// Contiguous: A [M, K] holds the rows of all groups, each group's in one run or several; `group_of_row` [M] names the
// group of each, -1 padding, whose outputs are +0 (unchanged with `accumulate`). scale_a: [M, ceil(K/tile_a.k)], or
// empty. Output [M, N]. Errors (bad input): a group that is not there, and those of gemm().
void grouped_gemm_contiguous(const MmaRule& rule, const CodeMatrix& a, std::span<const float> scale_a,
                             std::int64_t scale_k, const GroupedWeights& weights,
                             std::span<const std::int32_t> group_of_row, Promotion promotion, const GemmOutput& output);

// Masked: A [groups, M, K] as one matrix of groups * M rows, of which the first rows_of_group[g] count; the outputs of
// the others are +0 (unchanged with `accumulate`). Output [groups, M, N]. Errors (bad input): more rows than M.
void grouped_gemm_masked(const MmaRule& rule, const CodeMatrix& a, std::span<const float> scale_a, std::int64_t scale_k,
                         const GroupedWeights& weights, std::span<const std::int64_t> rows_of_group,
                         Promotion promotion, const GemmOutput& output);

}  // namespace lastbit::numerics
