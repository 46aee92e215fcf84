// What a piece of code has allocated at most: malloc() and free() of a program linked with allocations.cc are counted.
#pragma once

#include <cstdint>

namespace lastbit::bench {

// Bytes in use beyond those at its start, at their highest.
class PeakAllocation {
 public:
  PeakAllocation();
  [[nodiscard]] std::int64_t bytes() const;

 private:
  std::int64_t before_;
};

}  // namespace lastbit::bench
