#include "check/accumulation_study.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/exact_sum.h"
#include "numerics/normal.h"

namespace lastbit::check {
namespace {

using numerics::CodeMatrix;
using numerics::Format;

std::vector<float> draw(StudyInputs inputs, std::int64_t count, std::uint64_t seed, const std::string& purpose) {
  const core::RandomStream stream(seed, purpose);
  std::vector<float> values(static_cast<std::size_t>(count));
  if (inputs == StudyInputs::kNormal) {
    numerics::fill_normal(stream, 1.0, values);
  } else {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.uniform(i);
  }
  return values;
}

std::vector<std::byte> cast(const std::vector<float>& values, Format format) {
  const numerics::EncodeOptions options = numerics::default_encode_options(format);
  const auto width = static_cast<std::size_t>(numerics::describe(format).storage_bytes);
  std::vector<std::byte> bytes(values.size() * width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t code = numerics::encode(values[i], format, options);
    std::memcpy(bytes.data() + i * width, &code, width);
  }
  return bytes;
}

double to_double(const numerics::ExactSum& sum) {
  const numerics::ExactMagnitude value = sum.magnitude();
  const double magnitude = std::ldexp(static_cast<double>(value.magnitude), value.exponent);
  return sum.is_negative() ? -magnitude : magnitude;
}

// The exact results, correct to a double's last place.
std::vector<double> exact_results(const CodeMatrix& a, const CodeMatrix& b) {
  numerics::OperandPanel panel_a;
  numerics::OperandPanel panel_b;
  panel_a.assign(a, 0, a.rows, 0, a.cols, a.cols);
  panel_b.assign(b, 0, b.rows, 0, b.cols, b.cols);
  const int fraction_bits = numerics::describe(a.format).fraction_bits + numerics::describe(b.format).fraction_bits;
  std::vector<double> results(static_cast<std::size_t>(a.rows * b.rows));
  core::parallel_for(a.rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const numerics::OperandRow x = panel_a.at(i, 0);
      for (std::int64_t j = 0; j < b.rows; ++j) {
        const numerics::OperandRow y = panel_b.at(j, 0);
        numerics::ExactSum sum;
        for (std::int64_t k = 0; k < a.cols; ++k) {
          const std::int64_t product = static_cast<std::int64_t>(x.significands[k]) * y.significands[k];
          if (product != 0) sum.add(product, x.exponents[k] + y.exponents[k] - fraction_bits);
        }
        results[static_cast<std::size_t>(i * b.rows + j)] = to_double(sum);
      }
    }
  });
  return results;
}

AccumulationErrors compare(const std::vector<float>& results, const std::vector<double>& exact) {
  AccumulationErrors errors;
  double squares = 0;
  double largest = 0;
  double relative = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const double error = static_cast<double>(results[i]) - exact[i];
    squares += exact[i] * exact[i];
    largest = std::max(largest, std::abs(error));
    if (exact[i] == 0) continue;
    relative += error / exact[i];
    errors.max_relative = std::max(errors.max_relative, std::abs(error / exact[i]));
  }
  const auto count = static_cast<double>(results.size());
  if (squares > 0) errors.max_over_rms = largest / std::sqrt(squares / count);
  errors.mean_relative = relative / count;
  return errors;
}

}  // namespace

std::string_view to_string(StudyInputs inputs) { return inputs == StudyInputs::kNormal ? "normal" : "uniform"; }

std::vector<AccumulationErrors> study_accumulation(const numerics::MmaRule& rule, StudyInputs inputs,
                                                   const StudyShape& shape, std::uint64_t seed,
                                                   const std::vector<std::int64_t>& intervals) {
  if (shape.m < 1 || shape.n < 1 || shape.k < 1)
    core::fail_input("study: found shape {} x {} x {}, expected at least 1 x 1 x 1", shape.m, shape.n, shape.k);
  const std::vector<std::byte> bytes_a = cast(draw(inputs, shape.m * shape.k, seed, "study a"), rule.a);
  const std::vector<std::byte> bytes_b = cast(draw(inputs, shape.n * shape.k, seed, "study b"), rule.b);
  const CodeMatrix a{rule.a, shape.m, shape.k, bytes_a};
  const CodeMatrix b{rule.b, shape.n, shape.k, bytes_b};
  const std::vector<double> exact = exact_results(a, b);
  std::vector<AccumulationErrors> errors;
  std::vector<float> results(exact.size());
  for (const std::int64_t every : intervals) {
    numerics::Promotion promotion;
    if (every != 0) promotion = {numerics::PromotionOrder::kDeepgemm, every};
    numerics::gemm(rule, {a, b, {}, {}}, promotion, results);
    errors.push_back(compare(results, exact));
  }
  return errors;
}

}  // namespace lastbit::check
