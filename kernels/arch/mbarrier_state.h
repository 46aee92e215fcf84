// The executor's mbarrier behind an address, for what reports to it.
#pragma once

#include <cstdint>

#include "kernels/simt/block.h"

namespace lastbit::arch {

// A finding where nobody initialised it, or did so without an order.
[[nodiscard]] simt::Mbarrier& mbarrier_state(const std::uint64_t* barrier);

}  // namespace lastbit::arch
