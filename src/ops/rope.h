// Rotary position embedding (Su et al., arXiv 2104.09864) with YaRN (Peng et al., arXiv 2309.00071) or Llama 3's
// frequency scaling.
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

// Waves longer than original_positions / low_freq_factor are divided by `factor`, those shorter than
// original_positions / high_freq_factor stay, in between a share moves linearly in the number of turns (transformers,
// modeling_rope_utils: _compute_llama3_parameters).
struct Llama3Parameters {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_positions = 8192;
};

struct RopeParameters {
  std::int64_t dim = 0;
  double theta = 10000;
  std::optional<YarnParameters> yarn = std::nullopt;
  std::optional<Llama3Parameters> llama3 = std::nullopt;  // not beside yarn
};

// cos and sin [positions, dim/2] FP32 or FP64, already times YaRN's attention factor m(mscale) / m(mscale_all_dim).
struct RopeTables {
  tensor::Tensor inv_freq;  // [dim/2] of the same type
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

// Frequencies and angles in double with the functions of numerics/elementary.h, rounded to `dtype` (FP32 or FP64) once
// at the end, so the tables hold for any position; FP32 angles, as some frameworks use, drift by position * 2^-25.
[[nodiscard]] RopeTables rope_tables(const RopeParameters& parameters, std::int64_t positions,
                                     tensor::DType dtype = tensor::DType::kF32);

// Turns elements first ... first + dim - 1 of every vector of x [..., S, heads, width] in place; x and the tables of
// one type. A token's position is its index along S, or positions[token] where `positions` (i64, one for each of the
// ... S tokens) is given: packed documents start again at 0, decoding goes on at what the cache holds.
// a cos - b sin and b cos + a sin, three roundings each.
// Errors: a position outside the tables, or vectors too short, are internal errors.
void apply_rope(tensor::Tensor& x, const RopeTables& tables, RopeLayout layout, std::int64_t first = 0,
                const tensor::Tensor* positions = nullptr);

// From the gradient of apply_rope's result to that of its argument, in place: the transposed turn (a cos + b sin and
// b cos - a sin, three roundings each), places as before the turn. Arguments as apply_rope.
void apply_rope_backward(tensor::Tensor& dx, const RopeTables& tables, RopeLayout layout, std::int64_t first = 0,
                         const tensor::Tensor* positions = nullptr);

}  // namespace lastbit::ops
