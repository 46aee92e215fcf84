// Elementary functions whose bits are the same on every machine: +, -, *, / and sqrt in double, no FMA, no libm.
//
// The float versions round a double result once: within 1 float ulp of the true value for every finite argument (in
// fact within 0.5001). The double versions are within 3 double ulp. Special values as in IEC 60559: poles
// give infinities; NaN and arguments outside the domain give the one NaN 0x7fc00000 (0x7ff8000000000000).
#pragma once

namespace lastbit::numerics {

[[nodiscard]] double exp(double x);
[[nodiscard]] double log(double x);
// Any finite argument, however large: the reduction modulo pi/2 is exact (see angle.h). Infinities give NaN.
[[nodiscard]] double sin(double x);
[[nodiscard]] double cos(double x);
struct SineAndCosine {
  double sine;
  double cosine;
};
[[nodiscard]] SineAndCosine sin_cos(double x);  // {sin(x), cos(x)}, with one reduction
[[nodiscard]] double tanh(double x);
// x^y = exp(y log x) for x > 0: relative error about |y log x| double ulp, so good to float for |y log x| < 1e6.
[[nodiscard]] double pow(double x, double y);
[[nodiscard]] double rsqrt(double x);    // 1 / sqrt(x)
[[nodiscard]] double sigmoid(double x);  // 1 / (1 + exp(-x))
[[nodiscard]] double silu(double x);     // x sigmoid(x)

[[nodiscard]] float exp(float x);
[[nodiscard]] float log(float x);
[[nodiscard]] float sin(float x);
[[nodiscard]] float cos(float x);
[[nodiscard]] float tanh(float x);
[[nodiscard]] float rsqrt(float x);    // 1 / sqrt(x)
[[nodiscard]] float sigmoid(float x);  // 1 / (1 + exp(-x))
[[nodiscard]] float silu(float x);     // x sigmoid(x)

}  // namespace lastbit::numerics
