// exp in double lanes, with the operations of the scalar exp(double) in the same order. What is left out cannot be seen
// in a float: beyond +-200 exp over- or underflows it, so that arguments are clamped there, 2^k is a normal number and
// one exact multiplication applies it. In sigmoid and silu the clamped exp(-x) is lost beside 1, or makes a quotient
// that underflows, as the true one would.
#include "numerics/elementary_array.h"

#include <cstddef>
#include <limits>

#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/elementary_terms.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/elementary_array.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
template <typename Function>
HWY_INLINE void map(const float* x, std::size_t count, float* y, Function function) {
  for (std::size_t i = 0; i < count; ++i) y[i] = function(x[i]);
}

void exp_floats(const float* x, std::size_t count, float* y) {
  map(x, count, y, [](float value) { return exp(value); });
}
void sigmoid_floats(const float* x, std::size_t count, float* y) {
  map(x, count, y, [](float value) { return sigmoid(value); });
}
void silu_floats(const float* x, std::size_t count, float* y) {
  map(x, count, y, [](float value) { return silu(value); });
}
#else
using Doubles = hn::ScalableTag<double>;
using Floats = hn::Rebind<float, Doubles>;
using V = hn::Vec<Doubles>;

// Vectors that are worked on together: Horner's rule is one chain of 24 operations a vector, and a processor looks
// ahead over two of them at most. With 32 registers eight take a third less time than four.
constexpr int kGroup = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

// Horner's rule from this term down to the constant one.
template <std::size_t kTerm>
HWY_INLINE void add_terms(const V (&r)[kGroup], V (&sum)[kGroup]) {
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) sum[i] = hn::Add(hn::Mul(sum[i], r[i]), hn::Set(Doubles(), kExpTerms[kTerm]));
  if constexpr (kTerm > 0) add_terms<kTerm - 1>(r, sum);
}

// exp(x) of doubles that are floats, good to be rounded to float: in place.
HWY_INLINE void exp_lanes(V (&x)[kGroup]) {
  const Doubles d;
  const hn::RebindToUnsigned<Doubles> u;
  V k[kGroup];
  V r[kGroup];
  V sum[kGroup];
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) {
    const auto clamped = hn::Min(hn::Max(x[i], hn::Set(d, -200.0)), hn::Set(d, 200.0));
    const auto scaled = hn::Mul(clamped, hn::Set(d, kLog2E));
    k[i] = hn::Trunc(hn::Add(scaled, hn::CopySign(hn::Set(d, 0.5), scaled)));
    r[i] = hn::Sub(hn::Sub(clamped, hn::Mul(k[i], hn::Set(d, kLn2High))), hn::Mul(k[i], hn::Set(d, kLn2Low)));
    sum[i] = hn::Set(d, kExpTerms.back());
  }
  add_terms<kExpTerms.size() - 2>(r, sum);
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) {
    const auto value = hn::Add(hn::Set(d, 1.0), hn::Add(r[i], hn::Mul(hn::Mul(r[i], r[i]), sum[i])));
    // Adding 1.5 * 2^52 leaves k, and with 1023 the exponent field of 2^k, in the lowest bits.
    const auto field = hn::BitCast(u, hn::Add(k[i], hn::Set(d, 0x1.8p52 + 1023)));
    const auto product = hn::Mul(value, hn::BitCast(d, hn::ShiftLeft<52>(field)));
    x[i] = hn::IfThenElse(hn::Eq(x[i], x[i]), product, hn::Set(d, std::numeric_limits<double>::quiet_NaN()));
  }
}

struct Exp {
  static HWY_INLINE void apply(V (&x)[kGroup]) { exp_lanes(x); }
};

// 1 + exp(-x)
HWY_INLINE void divisors(const V (&x)[kGroup], V (&to)[kGroup]) {
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) to[i] = hn::Neg(x[i]);
  exp_lanes(to);
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) to[i] = hn::Add(hn::Set(Doubles(), 1.0), to[i]);
}

struct Sigmoid {
  static HWY_INLINE void apply(V (&x)[kGroup]) {
    V divisor[kGroup];
    divisors(x, divisor);
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i) x[i] = hn::Div(hn::Set(Doubles(), 1.0), divisor[i]);
  }
};

struct Silu {
  static HWY_INLINE void apply(V (&x)[kGroup]) {
    const Doubles d;
    V divisor[kGroup];
    divisors(x, divisor);
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i) {
      const auto quotient = hn::IfThenElse(hn::Eq(x[i], x[i]), hn::Div(x[i], divisor[i]), divisor[i]);  // one NaN
      x[i] = hn::IfThenElse(hn::Lt(x[i], hn::Set(d, double{kSiluIsZero})), hn::Set(d, -0.0), quotient);
    }
  }
};

template <class Function>
HWY_INLINE void map_group(const float* x, float* y) {
  const Doubles d;
  const Floats f;
  const std::size_t lanes = hn::Lanes(d);
  V values[kGroup];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kGroup; ++i) values[i] = hn::PromoteTo(d, hn::LoadU(f, x + i * lanes));
  Function::apply(values);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kGroup; ++i) hn::StoreU(hn::DemoteTo(f, values[i]), f, y + i * lanes);
}

template <class Function>
HWY_INLINE void map(const float* x, std::size_t count, float* y) {
  const std::size_t step = kGroup * hn::Lanes(Doubles());
  std::size_t i = 0;
  for (; i + step <= count; i += step) map_group<Function>(x + i, y + i);
  if (i == count) return;
  HWY_ALIGN float rest[kGroup * hn::MaxLanes(Doubles())] = {};
  for (std::size_t j = i; j < count; ++j) rest[j - i] = x[j];
  map_group<Function>(rest, rest);
  for (std::size_t j = i; j < count; ++j) y[j] = rest[j - i];
}

void exp_floats(const float* x, std::size_t count, float* y) { map<Exp>(x, count, y); }
void sigmoid_floats(const float* x, std::size_t count, float* y) { map<Sigmoid>(x, count, y); }
void silu_floats(const float* x, std::size_t count, float* y) { map<Silu>(x, count, y); }
#endif

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::numerics {
namespace {

template <typename T>
void check_lengths(std::span<const T> x, std::span<T> y) {
  core::check(x.size() == y.size(), "elementary functions map arrays of the same length");
}

template <typename Function>
void map_doubles(std::span<const double> x, std::span<double> y, const Function& function) {
  check_lengths(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = function(x[i]);
}

}  // namespace

HWY_EXPORT(exp_floats);
HWY_EXPORT(sigmoid_floats);
HWY_EXPORT(silu_floats);

void exp(std::span<const float> x, std::span<float> y) {
  check_lengths(x, y);
  HWY_DYNAMIC_DISPATCH(exp_floats)(x.data(), x.size(), y.data());
}

void sigmoid(std::span<const float> x, std::span<float> y) {
  check_lengths(x, y);
  HWY_DYNAMIC_DISPATCH(sigmoid_floats)(x.data(), x.size(), y.data());
}

void silu(std::span<const float> x, std::span<float> y) {
  check_lengths(x, y);
  HWY_DYNAMIC_DISPATCH(silu_floats)(x.data(), x.size(), y.data());
}

void exp(std::span<const double> x, std::span<double> y) {
  map_doubles(x, y, [](double value) { return exp(value); });
}
void sigmoid(std::span<const double> x, std::span<double> y) {
  map_doubles(x, y, [](double value) { return sigmoid(value); });
}
void silu(std::span<const double> x, std::span<double> y) {
  map_doubles(x, y, [](double value) { return silu(value); });
}

}  // namespace lastbit::numerics
#endif  // HWY_ONCE
