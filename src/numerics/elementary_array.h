// The functions of elementary.h over arrays, vectorised: every element has the bits of the scalar function, NaNs and
// other special values included, on every instruction set.
//
// x and y have the same length; they are the same array or do not overlap. One thread: callers split their arrays. The
// double versions call the scalar functions.
#pragma once

#include <span>

namespace lastbit::numerics {

void exp(std::span<const float> x, std::span<float> y);
void sigmoid(std::span<const float> x, std::span<float> y);
void silu(std::span<const float> x, std::span<float> y);

void exp(std::span<const double> x, std::span<double> y);
void sigmoid(std::span<const double> x, std::span<double> y);
void silu(std::span<const double> x, std::span<double> y);

}  // namespace lastbit::numerics
