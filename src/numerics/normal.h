// Normal deviates that are a function of a random stream and an index, the same bits on every machine.
#pragma once

#include <span>

#include "core/philox.h"

namespace lastbit::numerics {

// values[i] = deviation * z_i, rounded once to FP32. Words 2j and 2j + 1 of the stream give z_2j and z_2j+1 by Box and
// Muller (Annals of Mathematical Statistics 29, 1958), in double: sqrt(-2 ln u) times cos and sin of 2 pi v with
// u = (w_2j + 1) / 2^32 and v = w_2j+1 / 2^32. Independent of the number of threads.
void fill_normal(const core::RandomStream& stream, double deviation, std::span<float> values);

}  // namespace lastbit::numerics
