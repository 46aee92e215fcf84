// Rotary position embedding (Su et al., arXiv 2104.09864) with YaRN (Peng et al., arXiv 2309.00071).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::ops {

// How the pairs that are turned together lie in a vector x of `dim` elements, and where the results go.
enum class RopeLayout {
  kHalfSplit,            // (x[j], x[j + dim/2]) in place: Llama
  kInterleaved,          // (x[2j], x[2j + 1]) in place: DeepSeek-V2 as transformers caches it
  kInterleavedToHalves,  // (x[2j], x[2j + 1]) to (j, j + dim/2): DeepSeek-V3 as transformers caches it
};

struct YarnParameters {
  double factor = 1;
  double original_positions = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

struct RopeParameters {
  std::int64_t dim = 0;
  double theta = 10000;
  std::optional<YarnParameters> yarn;
};

// cos and sin [positions, dim/2] FP32, already times YaRN's attention factor m(mscale) / m(mscale_all_dim).
struct RopeTables {
  tensor::Tensor inv_freq;  // [dim/2] FP32
  tensor::Tensor cos;
  tensor::Tensor sin;
};

// m(c) = 0.1 c ln(factor) + 1, and 1 for a factor of at most 1. Attention scores are multiplied by m(mscale_all_dim)^2.
[[nodiscard]] double yarn_mscale(double factor, double c);

// The dimensions between which YaRN's ramp goes from untouched to divided by `factor` (V3: 10 and 23).
struct YarnRange {
  double low = 0;
  double high = 0;
};
[[nodiscard]] YarnRange yarn_range(const RopeParameters& parameters);

// Frequencies and angles in double with the functions of numerics/elementary.h, rounded to FP32 once at the end, so the
// tables hold for any position; FP32 angles, as some frameworks use, drift by position * 2^-25.
[[nodiscard]] RopeTables rope_tables(const RopeParameters& parameters, std::int64_t positions);

// Turns the first `dim` elements at every `stride` elements of x: `count` vectors, vector i at position
// (i / vectors_a_position) % positions. In place, FP32: a cos - b sin and b cos + a sin, three roundings each.
void apply_rope(float* x, std::int64_t count, std::int64_t stride, std::int64_t vectors_a_position,
                const RopeTables& tables, RopeLayout layout);

}  // namespace lastbit::ops
