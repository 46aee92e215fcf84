#include "ops/rope.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr double kTwoPi = 0x1.921fb54442d18p+2;

// The dimension whose wave turns `rotations` times over the original positions (arXiv 2309.00071, equation 14).
double correction_dimension(const RopeParameters& parameters, double rotations) {
  return static_cast<double>(parameters.dim) *
         numerics::log(parameters.yarn->original_positions / (rotations * kTwoPi)) /
         (2 * numerics::log(parameters.theta));
}

// Frequencies in place, [dim/2].
void scale_by_yarn(const RopeParameters& parameters, std::vector<double>& frequency) {
  const YarnRange range = yarn_range(parameters);
  for (std::size_t j = 0; j < frequency.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - range.low) / (range.high - range.low), 0.0, 1.0);
    frequency[j] = frequency[j] / parameters.yarn->factor * ramp + frequency[j] * (1 - ramp);
  }
}

void scale_by_llama3(const Llama3Parameters& llama3, std::vector<double>& frequency) {
  for (double& value : frequency) {
    const double turns = llama3.original_positions * value / kTwoPi;  // over the original positions
    if (turns > llama3.high_freq_factor) continue;
    if (turns < llama3.low_freq_factor) {
      value /= llama3.factor;
      continue;
    }
    const double kept = (turns - llama3.low_freq_factor) / (llama3.high_freq_factor - llama3.low_freq_factor);
    value = (1 - kept) * value / llama3.factor + kept * value;
  }
}

std::vector<double> frequencies(const RopeParameters& parameters) {
  core::check(!(parameters.yarn && parameters.llama3), "rope_tables: YaRN or Llama 3's scaling, not both");
  std::vector<double> frequency(static_cast<std::size_t>(parameters.dim / 2));
  for (std::size_t j = 0; j < frequency.size(); ++j)
    frequency[j] = numerics::pow(parameters.theta, -2.0 * static_cast<double>(j) / static_cast<double>(parameters.dim));
  if (parameters.yarn) scale_by_yarn(parameters, frequency);
  if (parameters.llama3) scale_by_llama3(*parameters.llama3, frequency);
  return frequency;
}

template <typename T>
RopeTables fill_tables(const std::vector<double>& frequency, double attention_factor, std::int64_t positions) {
  constexpr tensor::DType kType = tensor::kDTypeOf<T>;
  const auto half = static_cast<std::int64_t>(frequency.size());
  RopeTables tables{Tensor::empty(kType, {half}), Tensor::empty(kType, {positions, half}),
                    Tensor::empty(kType, {positions, half})};
  std::transform(frequency.begin(), frequency.end(), tables.inv_freq.mutable_values<T>().begin(),
                 [](double value) { return static_cast<T>(value); });
  const auto cos = tables.cos.mutable_values<T>();
  const auto sin = tables.sin.mutable_values<T>();
  core::parallel_for(positions * half, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t position = i / half;
      const double angle = static_cast<double>(position) * frequency[static_cast<std::size_t>(i % half)];
      cos[static_cast<std::size_t>(i)] = static_cast<T>(numerics::cos(angle) * attention_factor);
      sin[static_cast<std::size_t>(i)] = static_cast<T>(numerics::sin(angle) * attention_factor);
    }
  });
  return tables;
}

// Where pair j lies: at step j and step j + gap.
struct PairPlaces {
  std::int64_t step;
  std::int64_t gap;
};

// All vectors of one tensor: which elements, which pairs, which way.
struct Turn {
  PairPlaces from;
  PairPlaces to;
  std::int64_t half;
  std::int64_t first;
  std::int64_t heads;
  std::int64_t width;
  bool forward;
};

Turn plan_turn(const Tensor& x, std::int64_t half, RopeLayout layout, std::int64_t first, bool forward) {
  const PairPlaces adjacent{2, 1};
  const PairPlaces halves{1, half};
  PairPlaces from = layout == RopeLayout::kHalfSplit ? halves : adjacent;
  PairPlaces to = layout == RopeLayout::kInterleaved ? adjacent : halves;
  if (!forward) std::swap(from, to);
  return {from, to, half, first, x.dim(-2), x.dim(-1), forward};
}

// The position of every token of x, where none are given: its index along S.
std::vector<std::int64_t> token_positions(const Tensor& x, const Tensor* positions, std::int64_t limit) {
  const std::int64_t heads_and_width = x.dim(-2) * x.dim(-1);
  const std::int64_t tokens = heads_and_width == 0 ? 0 : x.size() / heads_and_width;
  std::vector<std::int64_t> result(static_cast<std::size_t>(tokens));
  if (positions == nullptr) {
    for (std::int64_t t = 0; t < tokens; ++t) result[static_cast<std::size_t>(t)] = t % x.dim(-3);
  } else {
    core::check(positions->size() == tokens, "apply_rope: positions has one entry for each token of x");
    std::ranges::copy(positions->values<std::int64_t>(), result.begin());
  }
  core::check(std::ranges::all_of(result, [&](std::int64_t p) { return p >= 0 && p < limit; }),
              "apply_rope: every position lies within the tables");
  return result;
}

template <typename T>
void turn_vectors(T* x, const Turn& turn, const std::vector<std::int64_t>& positions, const RopeTables& tables) {
  const T* all_cos = tables.cos.values<T>().data();
  const T* all_sin = tables.sin.values<T>().data();
  const std::int64_t half = turn.half;
  const T sign = turn.forward ? T{1} : T{-1};
  const auto count = static_cast<std::int64_t>(positions.size()) * turn.heads;
  core::parallel_for(count, std::max<std::int64_t>(kElementsATask / (2 * half), 1),
                     [&](std::int64_t begin, std::int64_t end) {
                       std::vector<T> turned(static_cast<std::size_t>(2 * half));
                       for (std::int64_t i = begin; i < end; ++i) {
                         T* vector = x + i * turn.width + turn.first;
                         const std::int64_t position = positions[static_cast<std::size_t>(i / turn.heads)];
                         const T* cos = all_cos + position * half;
                         const T* sin = all_sin + position * half;
                         for (std::int64_t j = 0; j < half; ++j) {
                           const T a = vector[turn.from.step * j];
                           const T b = vector[turn.from.step * j + turn.from.gap];
                           const T s = sign * sin[j];
                           turned[static_cast<std::size_t>(turn.to.step * j)] = a * cos[j] - b * s;
                           turned[static_cast<std::size_t>(turn.to.step * j + turn.to.gap)] = b * cos[j] + a * s;
                         }
                         std::copy(turned.begin(), turned.end(), vector);
                       }
                     });
}

void turn_tensor(Tensor& x, const RopeTables& tables, RopeLayout layout, std::int64_t first, const Tensor* positions,
                 bool forward) {
  const std::int64_t half = tables.inv_freq.size();
  core::check(x.rank() >= 3, "apply_rope: x [..., S, heads, width]");
  core::check(first >= 0 && first + 2 * half <= x.dim(-1), "apply_rope: first and the tables' dim fit x's width");
  core::check(tables.cos.dtype() == x.dtype() && tables.sin.dtype() == x.dtype(),
              "apply_rope: x and the tables of one type");
  const std::vector<std::int64_t> all = token_positions(x, positions, tables.cos.dim(0));
  const Turn turn = plan_turn(x, half, layout, first, forward);
  with_element_type(x.dtype(), "apply_rope: x is FP32 or FP64", [&](auto zero) {
    using T = decltype(zero);
    turn_vectors(x.mutable_values<T>().data(), turn, all, tables);
  });
}

}  // namespace

double yarn_mscale(double factor, double c) { return factor <= 1 ? 1 : 0.1 * c * numerics::log(factor) + 1; }

YarnRange yarn_range(const RopeParameters& parameters) {
  core::check(parameters.yarn.has_value(), "yarn_range wants YaRN's parameters");
  YarnRange range;
  range.low = std::max(std::floor(correction_dimension(parameters, parameters.yarn->beta_fast)), 0.0);
  range.high = std::min(std::ceil(correction_dimension(parameters, parameters.yarn->beta_slow)),
                        static_cast<double>(parameters.dim - 1));
  if (range.low == range.high) range.high += 0.001;  // as published: a step instead of a division by zero
  return range;
}

RopeTables rope_tables(const RopeParameters& parameters, std::int64_t positions, tensor::DType dtype) {
  core::check(parameters.dim > 0 && parameters.dim % 2 == 0 && positions >= 0, "rope_tables: an even dim above 0");
  const std::vector<double> frequency = frequencies(parameters);
  double attention_factor = 1;
  if (const auto& yarn = parameters.yarn)
    attention_factor = yarn_mscale(yarn->factor, yarn->mscale) / yarn_mscale(yarn->factor, yarn->mscale_all_dim);
  return with_element_type(dtype, "rope_tables: FP32 or FP64", [&](auto zero) {
    return fill_tables<decltype(zero)>(frequency, attention_factor, positions);
  });
}

void apply_rope(Tensor& x, const RopeTables& tables, RopeLayout layout, std::int64_t first, const Tensor* positions) {
  turn_tensor(x, tables, layout, first, positions, true);
}

void apply_rope_backward(Tensor& dx, const RopeTables& tables, RopeLayout layout, std::int64_t first,
                         const Tensor* positions) {
  turn_tensor(dx, tables, layout, first, positions, false);
}

}  // namespace lastbit::ops
