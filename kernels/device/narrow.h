// Sizes as kernels take them.
#pragma once

#include <cstdint>
#include <limits>

#include "core/error.h"

namespace lastbit::device {

// Kernels count elements, rows and columns with an int. Errors (bad input): a size beyond.
[[nodiscard]] inline int narrow(std::int64_t size) {
  if (size < 0 || size > std::numeric_limits<int>::max())
    core::fail_input("the device path: {} elements for one kernel, expected at most {}: fewer tokens a pass", size,
                     std::numeric_limits<int>::max());
  return static_cast<int>(size);
}

}  // namespace lastbit::device
