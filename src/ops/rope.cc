#include "ops/rope.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"

namespace lastbit::ops {
namespace {

constexpr double kTwoPi = 0x1.921fb54442d18p+2;

// The dimension whose wave turns `rotations` times over the original positions (arXiv 2309.00071, equation 14).
double correction_dimension(const RopeParameters& parameters, double rotations) {
  return static_cast<double>(parameters.dim) *
         numerics::log(parameters.yarn->original_positions / (rotations * kTwoPi)) /
         (2 * numerics::log(parameters.theta));
}

std::vector<double> frequencies(const RopeParameters& parameters) {
  std::vector<double> frequency(static_cast<std::size_t>(parameters.dim / 2));
  for (std::size_t j = 0; j < frequency.size(); ++j)
    frequency[j] = numerics::pow(parameters.theta, -2.0 * static_cast<double>(j) / static_cast<double>(parameters.dim));
  if (!parameters.yarn) return frequency;
  const YarnRange range = yarn_range(parameters);
  for (std::size_t j = 0; j < frequency.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - range.low) / (range.high - range.low), 0.0, 1.0);
    frequency[j] = frequency[j] / parameters.yarn->factor * ramp + frequency[j] * (1 - ramp);
  }
  return frequency;
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

RopeTables rope_tables(const RopeParameters& parameters, std::int64_t positions) {
  core::check(parameters.dim > 0 && parameters.dim % 2 == 0 && positions >= 0, "rope_tables: an even dim above 0");
  const std::vector<double> frequency = frequencies(parameters);
  double attention_factor = 1;
  if (const auto& yarn = parameters.yarn)
    attention_factor = yarn_mscale(yarn->factor, yarn->mscale) / yarn_mscale(yarn->factor, yarn->mscale_all_dim);
  const std::int64_t half = parameters.dim / 2;
  RopeTables tables{tensor::Tensor::empty(tensor::DType::kF32, {half}),
                    tensor::Tensor::empty(tensor::DType::kF32, {positions, half}),
                    tensor::Tensor::empty(tensor::DType::kF32, {positions, half})};
  std::transform(frequency.begin(), frequency.end(), tables.inv_freq.mutable_values<float>().begin(),
                 [](double value) { return static_cast<float>(value); });
  const auto cos = tables.cos.mutable_values<float>();
  const auto sin = tables.sin.mutable_values<float>();
  core::parallel_for(positions * half, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t position = i / half;
      const double angle = static_cast<double>(position) * frequency[static_cast<std::size_t>(i % half)];
      cos[static_cast<std::size_t>(i)] = static_cast<float>(numerics::cos(angle) * attention_factor);
      sin[static_cast<std::size_t>(i)] = static_cast<float>(numerics::sin(angle) * attention_factor);
    }
  });
  return tables;
}

void apply_rope(float* x, std::int64_t count, std::int64_t stride, std::int64_t vectors_a_position,
                const RopeTables& tables, RopeLayout layout) {
  const std::int64_t half = tables.inv_freq.size();
  const std::int64_t positions = tables.cos.dim(0);
  const float* all_cos = tables.cos.values<float>().data();
  const float* all_sin = tables.sin.values<float>().data();
  const bool pairs_adjacent = layout != RopeLayout::kHalfSplit;
  const bool results_adjacent = layout == RopeLayout::kInterleaved;
  core::parallel_for(count, 256, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> turned(static_cast<std::size_t>(2 * half));
    for (std::int64_t i = begin; i < end; ++i) {
      float* vector = x + i * stride;
      const std::int64_t position = i / vectors_a_position % positions;
      for (std::int64_t j = 0; j < half; ++j) {
        const float a = vector[pairs_adjacent ? 2 * j : j];
        const float b = vector[pairs_adjacent ? 2 * j + 1 : j + half];
        const float cos = all_cos[position * half + j];
        const float sin = all_sin[position * half + j];
        turned[static_cast<std::size_t>(results_adjacent ? 2 * j : j)] = a * cos - b * sin;
        turned[static_cast<std::size_t>(results_adjacent ? 2 * j + 1 : j + half)] = b * cos + a * sin;
      }
      std::copy(turned.begin(), turned.end(), vector);
    }
  });
}

}  // namespace lastbit::ops
