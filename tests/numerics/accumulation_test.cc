// What Hopper's 13 fraction bits cost over K = 4096, and what promotion every N_C elements wins back: the table of
// section 4 of the numerics specification, errors against the exact sum of the same codes.
//
// The table is for M = N = 256; here M = N = 64, to be quick. The one-sided truncation of U[0, 1) inputs makes all
// outputs err alike, so its row hardly depends on the size (the largest of 4,096 errors lies up to 5 % below the
// largest of 65,536). The N(0, 1) row is the extreme of a symmetric, heavy-tailed error: at 256 three seeds of this
// generator give 1.3e-2 to 1.8e-2 without promotion (table: 1.4e-2 to 1.6e-2), at 64 six seeds give 0.9e-2 to 1.3e-2;
// the other columns scatter in the same proportion.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/elementary.h"
#include "numerics/gemm.h"
#include "numerics/units.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kSize = 64;
constexpr std::int64_t kInner = 4096;

// N(0, 1) by Box and Muller, or U[0, 1), cast to E4M3 as they are.
std::vector<std::byte> random_codes(bool normal, std::uint64_t seed, const char* purpose) {
  const core::RandomStream stream(seed, purpose);
  const EncodeOptions options = default_encode_options(Format::kE4M3);
  std::vector<std::byte> codes(kSize * kInner);
  core::parallel_for(kSize * kInner, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::uint64_t>(2 * i);
      float value = stream.uniform(at);
      if (normal) {
        const double radius = std::sqrt(-2.0 * log(1.0 - static_cast<double>(value)));
        value = static_cast<float>(radius * cos(6.283185307179586 * static_cast<double>(stream.uniform(at + 1))));
      }
      codes[static_cast<std::size_t>(i)] = static_cast<std::byte>(encode(value, Format::kE4M3, options));
    }
  });
  return codes;
}

// The exact products' sums. E4M3 numbers are multiples of 2^-9 up to 448: a sum of 4096 products is below 2^48 units
// of 2^-18, so 64-bit integers hold it.
std::vector<double> exact_products(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  const auto to_units = [](const std::vector<std::byte>& codes) {
    std::vector<std::int32_t> units;
    for (const std::byte code : codes)
      units.push_back(static_cast<std::int32_t>(decode(static_cast<std::uint32_t>(code), Format::kE4M3) * 512.0F));
    return units;
  };
  const std::vector<std::int32_t> x = to_units(a);
  const std::vector<std::int32_t> y = to_units(b);
  std::vector<double> d(kSize * kSize);
  core::parallel_for(kSize, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < kSize; ++j) {
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < kInner; ++k)
          sum += static_cast<std::int64_t>(x[static_cast<std::size_t>(i * kInner + k)]) *
                 y[static_cast<std::size_t>(j * kInner + k)];
        d[static_cast<std::size_t>(i * kSize + j)] = static_cast<double>(sum) * 0x1p-18;
      }
  });
  return d;
}

struct Errors {
  double max_over_rms = 0;   // largest |error| over the root mean square of the exact results
  double max_relative = 0;   // largest |error / exact|
  double mean_relative = 0;  // mean error / exact, signed
};

class AccumulationStudy {
 public:
  AccumulationStudy(bool normal, std::uint64_t seed)
      : a_(random_codes(normal, seed, "a")), b_(random_codes(normal, seed, "b")), exact_(exact_products(a_, b_)) {}

  // every = 0: chained, nothing promoted.
  [[nodiscard]] Errors errors(std::int64_t every) const {
    const MmaRule rule = rule_of(find_unit("hopper_wgmma"), Format::kE4M3, Format::kE4M3, Format::kF32);
    const Promotion promotion = every == 0 ? Promotion{} : Promotion{PromotionOrder::kDeepgemm, every};
    std::vector<float> d(exact_.size());
    gemm(rule, {{Format::kE4M3, kSize, kInner, a_}, {Format::kE4M3, kSize, kInner, b_}, {}, {}}, promotion, d);
    Errors result;
    double squares = 0;
    double largest = 0;
    double relative = 0;
    for (std::size_t i = 0; i < d.size(); ++i) {
      const double error = static_cast<double>(d[i]) - exact_[i];
      squares += exact_[i] * exact_[i];
      largest = std::max(largest, std::abs(error));
      relative += error / exact_[i];
      result.max_relative = std::max(result.max_relative, std::abs(error / exact_[i]));
    }
    const auto count = static_cast<double>(d.size());
    result.max_over_rms = largest / std::sqrt(squares / count);
    result.mean_relative = relative / count;
    return result;
  }

 private:
  std::vector<std::byte> a_;
  std::vector<std::byte> b_;
  std::vector<double> exact_;
};

struct Row {
  std::int64_t every;  // N_C; 0: no promotion
  double published;
};

TEST(AccumulationError, UniformInputs) {
  const AccumulationStudy study(false, 1);
  const std::vector<Row> rows{{0, 7.1e-2}, {512, 5.9e-3}, {256, 2.0e-3}, {128, 6.0e-4}, {64, 1.8e-4}, {32, 5.3e-5}};
  for (const Row& row : rows) {
    const Errors errors = study.errors(row.every);
    EXPECT_GT(errors.max_relative, 0.9 * row.published) << row.every;
    EXPECT_LT(errors.max_relative, 1.05 * row.published) << row.every;
    EXPECT_LT(errors.mean_relative, 0) << "truncation is one-sided";
    if (row.every == 0) {
      EXPECT_NEAR(errors.mean_relative, -0.066, 0.001);
    }
  }
}

TEST(AccumulationError, NormalInputs) {
  const AccumulationStudy study(true, 1);
  const std::vector<Row> rows{{0, 1.5e-2}, {512, 2.1e-3}, {256, 1.2e-3}, {128, 6.4e-4}, {64, 3.4e-4}, {32, 2.2e-4}};
  double previous = 1;
  for (const Row& row : rows) {
    const Errors errors = study.errors(row.every);
    EXPECT_GT(errors.max_over_rms, 0.55 * row.published) << row.every;
    EXPECT_LT(errors.max_over_rms, 1.2 * row.published) << row.every;
    EXPECT_LT(errors.max_over_rms, previous) << "promotion every " << row.every << " is better than less often";
    previous = errors.max_over_rms;
  }
}

}  // namespace
}  // namespace lastbit::numerics
