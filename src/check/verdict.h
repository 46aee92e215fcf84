// One output of a kernel held against its reference: every element, and where and by how much they part.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "check/contract.h"
#include "tensor/compare.h"
#include "tensor/tolerance.h"

namespace lastbit::check {

// Mismatches over the output seen as a matrix (all axes but the last are rows), in at most 64 x 64 cells.
struct ErrorMap {
  std::int64_t rows = 0;  // of cells
  std::int64_t cols = 0;
  std::int64_t cell_rows = 1;  // elements under one cell
  std::int64_t cell_cols = 1;
  std::vector<std::int64_t> mismatches;  // [rows, cols]
};

struct OutputVerdict {
  // Pairs of numbers by their distance in ulps: 0, 1, 2 to 3, 4 to 7, ..., and last those with a NaN or an infinity on
  // one side alone.
  static constexpr std::size_t kBins = 66;

  std::string output;
  std::string type;
  std::string tolerance;
  tensor::Shape shape;
  std::string difference;  // why nothing could be compared, else ""
  std::int64_t elements = 0;
  std::int64_t differing = 0;   // bits differ
  std::int64_t mismatches = 0;  // beyond the tolerance
  std::int64_t nonfinite_mismatches = 0;
  std::uint64_t worst_ulp = 0;
  std::uint64_t p99_ulp = 0;  // up to 4095 exact, above that rounded up to a power of two less one, or worst_ulp
  double max_abs = 0;
  double worst_share = 0;  // kBand: the largest |candidate - reference| / bound
  std::optional<tensor::ElementPair> first;
  std::optional<tensor::ElementPair> first_nonfinite;
  std::optional<tensor::ElementPair> worst;
  std::int64_t first_element = -1;  // in row-major order
  std::array<std::int64_t, kBins> histogram{};
  ErrorMap map;

  [[nodiscard]] bool match() const { return difference.empty() && mismatches == 0; }
};

// `tolerance`: instead of the contract's, where given. NaNs match NaNs of other bits but in 8-bit formats, where a cast
// is told apart by them. Another dtype or shape than the reference's is told in `difference`.
[[nodiscard]] OutputVerdict judge(const ContractOutput& output, const Expected& expected,
                                  const tensor::Tensor& candidate,
                                  const std::optional<tensor::Tolerance>& tolerance = {});

// The share of elements with the same bits (NaNs as above), from 0 to 1; 0 for other shapes.
[[nodiscard]] double share_of_equal(const tensor::Tensor& reference, const tensor::Tensor& candidate);

// What the same comparison says about outputs that are wrong: it must reject them, or it has no power.
struct PowerCheck {
  bool zeros = false;        // all of the output is zero
  bool one_element = false;  // one element is off: a bit, or half of itself where a bound is given
  bool wrong_scale = false;  // everything is twice as large (integers: one more)
  bool possible = true;      // the reference is not all zeros: otherwise zeros and its double are right
};
[[nodiscard]] PowerCheck power_of(const ContractOutput& output, const Expected& expected,
                                  const std::optional<tensor::Tolerance>& tolerance = {});

}  // namespace lastbit::check
