// Numbers that are not finite, seen on the device. Arrays are the device's; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

namespace lastbit::kernels {

// Elements of x [count] that are not finite become 0; count_of [1] grows by their number. So that what follows stays in
// bounds until the host reads the count.
void replace_non_finite(float* x, std::size_t count, std::int64_t* count_of);

}  // namespace lastbit::kernels
