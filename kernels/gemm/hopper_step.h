// One step of unit hopper_wgmma on FP8 operands, in integers (numerics/mma.h): 32 products and c are aligned at the
// largest exponent E, cut to multiples of 2^(E - 13), added exactly, and cut to 13 fraction bits.
#pragma once

#include "kernels/numbers/fp8.h"

namespace lastbit::kernels {

constexpr int kStepDepth = 32;
constexpr int kFractionBits = 13;
constexpr int kNoExponent = -(1 << 14);  // of a zero
constexpr unsigned kTensorNan = 0x7fffffffU;

// An operand as 16 bits: exponent in the high byte, significand in the low one. Zeros have an exponent that no sum of
// two makes an ordinary one, specials one that every sum with them shows.
constexpr int kZeroOperand = -64;
constexpr int kSpecialOperand = 100;
constexpr int kLeastOrdinary = -40;  // E5M2: two subnormals
constexpr int kLeastSpecial = 36;    // 100 - 64

struct StepOperand {
  signed char significand;
  signed char exponent;
};

__device__ inline StepOperand step_operand(unsigned code, const Fp8Format& format) {
  const Fp8Parts parts = fp8_parts(code, format);
  int exponent = parts.exponent;
  if (parts.special)
    exponent = kSpecialOperand;
  else if (parts.significand == 0)
    exponent = kZeroOperand;
  return {static_cast<signed char>(parts.significand), static_cast<signed char>(exponent)};
}

// value / 2^-shift toward zero.
__device__ inline int shift_toward_zero(int value, int shift) {
  if (shift >= 0) return value << shift;
  if (shift < -31) return 0;
  return value < 0 ? -(-value >> -shift) : value >> -shift;
}

// c is a result of this function, or 0. `count` operands of each, the rest of the step zeros; consecutive ones of a
// lie `stride_a` apart, of b `stride_b`.
struct StepRow {
  const StepOperand* operands;
  int stride;
  __device__ StepOperand operator[](int k) const { return operands[k * stride]; }
};

// The IEEE sum of terms among which there is an Inf or a NaN.
__device__ inline float special_sum(StepRow a, StepRow b, int count, float c) {
  bool plus = c > 3.4028234e38F;
  bool minus = c < -3.4028234e38F;
  bool nan = c != c;
  for (int k = 0; k < count; ++k) {
    const StepOperand x = a[k];
    const StepOperand y = b[k];
    if (x.exponent != kSpecialOperand && y.exponent != kSpecialOperand) continue;
    const int sign = x.significand * y.significand;
    if (sign == 0)
      nan = true;
    else
      (sign > 0 ? plus : minus) = true;
  }
  if (nan || (plus && minus)) return __uint_as_float(kTensorNan);
  return __uint_as_float(plus ? 0x7f800000U : 0xff800000U);
}

// `product_bits` is the sum of both formats' fraction bits.
__device__ inline float hopper_step(StepRow a, StepRow b, int count, int product_bits, float c) {
  int largest = 2 * kZeroOperand;
  for (int k = 0; k < count; ++k) largest = max(largest, a[k].exponent + b[k].exponent);
  const unsigned magnitude = __float_as_uint(c) & 0x7fffffffU;
  if (largest >= kLeastSpecial || magnitude >= 0x7f800000U) return special_sum(a, b, count, c);
  const int exponent_c = magnitude == 0 ? kNoExponent : static_cast<int>(magnitude >> 23) - 127;
  const int products = largest < kLeastOrdinary ? kNoExponent : largest;
  const int alignment = max(products, exponent_c);
  if (alignment == kNoExponent) return 0;
  int sum = 0;
  for (int k = 0; k < count; ++k) {
    const StepOperand x = a[k];
    const StepOperand y = b[k];
    sum += shift_toward_zero(x.significand * y.significand,
                             x.exponent + y.exponent - product_bits - alignment + kFractionBits);
  }
  if (magnitude != 0) {
    // 24 bits of which the low ten are zeros.
    const int significand = static_cast<int>(((magnitude & 0x7fffffU) | 0x800000U) >> 10);
    sum += shift_toward_zero(c < 0 ? -significand : significand, exponent_c - alignment);
  }
  if (sum == 0) return 0;
  const int size = sum < 0 ? -sum : sum;
  const int excess = max(31 - __clz(size) - kFractionBits, 0);
  const int cut = size >> excess << excess;
  // A power of two within FP32's normal numbers: E is at least -28 - 13 here, and the sum below 2^21 exact.
  const float unit = __uint_as_float(static_cast<unsigned>(alignment - kFractionBits + 127) << 23);
  return __fmul_rn(static_cast<float>(sum < 0 ? -cut : cut), unit);
}

}  // namespace lastbit::kernels
