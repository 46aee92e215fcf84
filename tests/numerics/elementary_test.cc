#include "numerics/elementary.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kSamples = 1000000;
constexpr mpfr_prec_t kPrecision = 64;

using Oracle = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

int mpfr_sigmoid(mpfr_ptr result, mpfr_srcptr x, mpfr_rnd_t rounding) {
  mpfr_neg(result, x, rounding);
  mpfr_exp(result, result, rounding);
  mpfr_add_ui(result, result, 1, rounding);
  return mpfr_ui_div(result, 1, result, rounding);
}

int mpfr_silu(mpfr_ptr result, mpfr_srcptr x, mpfr_rnd_t rounding) {
  mpfr_sigmoid(result, x, rounding);
  return mpfr_mul(result, result, x, rounding);
}

// The distance between two neighbouring floats (or doubles) at `value`.
template <typename T>
double ulp_at(double value) {
  constexpr int kDigits = std::numeric_limits<T>::digits;
  constexpr int kMinExponent = std::numeric_limits<T>::min_exponent - kDigits;
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent - kDigits, kMinExponent));
}

// |computed - oracle(x)| in ulp of T, 0 when both overflow to the same infinity; a NaN computed counts as infinitely
// wrong.
template <typename T>
double error_in_ulp(T computed, double x, Oracle oracle, mpfr_ptr exact, mpfr_ptr argument) {
  mpfr_set_d(argument, x, MPFR_RNDN);
  oracle(exact, argument, MPFR_RNDN);
  const double rounded = mpfr_get_d(exact, MPFR_RNDN);
  if (static_cast<T>(rounded) == computed && std::isinf(computed)) return 0;
  if (!std::isfinite(computed)) return std::numeric_limits<double>::infinity();
  mpfr_sub_d(exact, exact, static_cast<double>(computed), MPFR_RNDN);
  return std::abs(mpfr_get_d(exact, MPFR_RNDN)) / ulp_at<T>(rounded);
}

// Half of the arguments are finite bit patterns drawn evenly (every exponent as often), half lie within +-range.
template <typename T>
T argument(const core::RandomStream& stream, std::int64_t i, double range) {
  const core::PhiloxBlock block = stream.block(static_cast<std::uint32_t>(i));
  if (i % 2 == 0) return static_cast<T>((static_cast<double>(block[0]) * 0x1p-31 - 1) * range);
  if constexpr (sizeof(T) == 4) {
    const T value = std::bit_cast<T>(block[0]);
    return std::isfinite(value) ? value : std::bit_cast<T>(block[0] & 0xBFFFFFFFu);
  } else {
    const std::uint64_t bits = (static_cast<std::uint64_t>(block[0]) << 32) | block[1];
    const T value = std::bit_cast<T>(bits);
    return std::isfinite(value) ? value : std::bit_cast<T>(bits & 0xBFFFFFFFFFFFFFFFu);
  }
}

template <typename T>
void expect_close(const std::string& name, T (*function)(T), Oracle oracle, double range, bool positive, double limit,
                  std::int64_t samples) {
  const core::RandomStream stream(7, name);
  std::mutex mutex;
  double worst = 0;
  T worst_at = 0;
  core::parallel_for(samples, 10000, [&](std::int64_t begin, std::int64_t end) {
    mpfr_t exact;
    mpfr_t x;
    mpfr_inits2(kPrecision, exact, x, nullptr);
    double local = 0;
    T local_at = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      T value = argument<T>(stream, i, range);
      if (positive) value = std::abs(value);
      if (positive && value == 0) continue;
      const double error = error_in_ulp(function(value), static_cast<double>(value), oracle, exact, x);
      if (error > local) {
        local = error;
        local_at = value;
      }
    }
    mpfr_clears(exact, x, nullptr);
    const std::lock_guard<std::mutex> lock(mutex);
    if (local > worst) {
      worst = local;
      worst_at = local_at;
    }
  });
  EXPECT_LE(worst, limit) << name << " at " << worst_at;
  EXPECT_GT(worst, 0.0) << name;
}

using FloatFunction = float (*)(float);
using DoubleFunction = double (*)(double);

TEST(Elementary, FloatsAreWithinHalfAUlpAndALittle) {
  constexpr double kLimit = 0.5001;
  expect_close<float>("exp", static_cast<FloatFunction>(exp), mpfr_exp, 105, false, kLimit, kSamples);
  expect_close<float>("log", static_cast<FloatFunction>(log), mpfr_log, 2, true, kLimit, kSamples);
  expect_close<float>("sin", static_cast<FloatFunction>(sin), mpfr_sin, 200000, false, kLimit, kSamples);
  expect_close<float>("cos", static_cast<FloatFunction>(cos), mpfr_cos, 200000, false, kLimit, kSamples);
  expect_close<float>("tanh", static_cast<FloatFunction>(tanh), mpfr_tanh, 12, false, kLimit, kSamples);
  expect_close<float>("rsqrt", rsqrt, mpfr_rec_sqrt, 10, true, kLimit, kSamples);
  expect_close<float>("sigmoid", static_cast<FloatFunction>(sigmoid), mpfr_sigmoid, 105, false, kLimit, kSamples);
  expect_close<float>("silu", static_cast<FloatFunction>(silu), mpfr_silu, 110, false, kLimit, kSamples);
}

TEST(Elementary, DoublesAreWithinThreeUlp) {
  constexpr std::int64_t kFewer = 100000;
  expect_close<double>("exp", static_cast<DoubleFunction>(exp), mpfr_exp, 746, false, 3, kFewer);
  expect_close<double>("log", static_cast<DoubleFunction>(log), mpfr_log, 2, true, 3, kFewer);
  expect_close<double>("sin", static_cast<DoubleFunction>(sin), mpfr_sin, 1e6, false, 3, kFewer);
  expect_close<double>("cos", static_cast<DoubleFunction>(cos), mpfr_cos, 1e6, false, 3, kFewer);
  expect_close<double>("tanh", static_cast<DoubleFunction>(tanh), mpfr_tanh, 20, false, 3, kFewer);
  expect_close<double>("sigmoid", static_cast<DoubleFunction>(sigmoid), mpfr_sigmoid, 750, false, 3, kFewer);
  expect_close<double>("silu", static_cast<DoubleFunction>(silu), mpfr_silu, 805, false, 3, kFewer);
  expect_close<double>("rsqrt", static_cast<DoubleFunction>(rsqrt), mpfr_rec_sqrt, 10, true, 3, kFewer);
}

// Floats whose distance from a multiple of pi/2 is smallest for their exponent lose the most bits to the reduction:
// k pi/2 rounded to float, for every k that a float resolves, and the hardest float and double known.
TEST(Elementary, AnglesNextToMultiplesOfHalfPi) {
  mpfr_t exact;
  mpfr_t x;
  mpfr_t half_pi;
  mpfr_inits2(1200, exact, x, half_pi, nullptr);
  mpfr_const_pi(half_pi, MPFR_RNDN);
  mpfr_div_ui(half_pi, half_pi, 2, MPFR_RNDN);
  for (int exponent = 0; exponent < 126; ++exponent) {
    for (unsigned long k = 1; k < 100; k += 7) {
      mpfr_mul_ui(x, half_pi, k, MPFR_RNDN);
      mpfr_mul_2si(x, x, exponent, MPFR_RNDN);
      const float angle = mpfr_get_flt(x, MPFR_RNDN);
      if (!std::isfinite(angle)) continue;
      EXPECT_LE(error_in_ulp(sin(angle), static_cast<double>(angle), mpfr_sin, exact, x), 0.5001) << angle;
      EXPECT_LE(error_in_ulp(cos(angle), static_cast<double>(angle), mpfr_cos, exact, x), 0.5001) << angle;
    }
  }
  constexpr double kHardestDouble = 6381956970095103.0 * 0x1p797;  // 1.9e-19 from a multiple of pi/2 (Kahan)
  EXPECT_LE(error_in_ulp(cos(kHardestDouble), kHardestDouble, mpfr_cos, exact, x), 2.0);
  mpfr_clears(exact, x, half_pi, nullptr);
}

TEST(Elementary, SpecialValues) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const FloatFunction function :
       {static_cast<FloatFunction>(exp), static_cast<FloatFunction>(log), static_cast<FloatFunction>(sin),
        static_cast<FloatFunction>(cos), static_cast<FloatFunction>(tanh), static_cast<FloatFunction>(rsqrt),
        static_cast<FloatFunction>(sigmoid), static_cast<FloatFunction>(silu)})
    for (const float nan : {kNan, -kNan, std::bit_cast<float>(0x7f800001u), std::bit_cast<float>(0xffc12345u)})
      EXPECT_EQ(std::bit_cast<std::uint32_t>(function(nan)), 0x7fc00000u);
  EXPECT_EQ(exp(kInf), kInf);
  EXPECT_EQ(exp(-kInf), 0.0F);
  EXPECT_EQ(exp(0.0F), 1.0F);
  EXPECT_EQ(log(kInf), kInf);
  EXPECT_EQ(log(0.0F), -kInf);
  EXPECT_TRUE(std::isnan(log(-1.0F)));
  EXPECT_EQ(log(1.0F), 0.0F);
  EXPECT_TRUE(std::isnan(sin(kInf)));
  EXPECT_TRUE(std::isnan(cos(-kInf)));
  EXPECT_EQ(tanh(kInf), 1.0F);
  EXPECT_EQ(tanh(-kInf), -1.0F);
  EXPECT_TRUE(std::signbit(tanh(-0.0F)));
  EXPECT_TRUE(std::signbit(sin(-0.0F)));
  EXPECT_EQ(rsqrt(0.0F), kInf);
  EXPECT_EQ(rsqrt(kInf), 0.0F);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(rsqrt(-1.0F)), 0x7fc00000u);
  EXPECT_EQ(sigmoid(kInf), 1.0F);
  EXPECT_EQ(sigmoid(-kInf), 0.0F);
  EXPECT_EQ(silu(kInf), kInf);
  EXPECT_EQ(silu(-kInf), 0.0F);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(sigmoid(kInfinity), 1.0);
  EXPECT_EQ(sigmoid(-kInfinity), 0.0);
  EXPECT_EQ(silu(kInfinity), kInfinity);
  EXPECT_EQ(silu(-kInfinity), 0.0);
}

TEST(Elementary, SineAndCosineAtOnceAreBoth) {
  for (const double start : {0.0, 1e-9, 0.7, 3.0, 1e5, 1e300})
    for (int i = -200; i <= 200; ++i) {
      const double x = start + i * 0.0731;
      const SineAndCosine both = sin_cos(x);
      EXPECT_EQ(std::bit_cast<std::uint64_t>(both.sine), std::bit_cast<std::uint64_t>(sin(x))) << x;
      EXPECT_EQ(std::bit_cast<std::uint64_t>(both.cosine), std::bit_cast<std::uint64_t>(cos(x))) << x;
    }
  EXPECT_TRUE(std::isnan(sin_cos(std::numeric_limits<double>::infinity()).cosine));
}

TEST(Elementary, Power) {
  EXPECT_NEAR(pow(10000.0, -0.5), 0.01, 1e-16);
  EXPECT_EQ(pow(2.0, 0.0), 1.0);
}

}  // namespace
}  // namespace lastbit::numerics
