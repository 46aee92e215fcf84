// Every kernel comes twice.
#pragma once

#include <cstdint>

namespace lastbit::kernels {

enum class Version : std::uint8_t {
  kObvious,  // v0: one thread an output, as one would write it down
  kTuned,
};

}  // namespace lastbit::kernels
