// How long work on the GPU takes, by the GPU's own events.
#pragma once

#include <functional>

namespace lastbit::cuda {

// The median over runs of `enqueue`, which puts work on the default stream: 11 of them, or fewer when they take more
// than half a second together; caches are cold, and what the host does meanwhile does not count. The first call of a
// kernel, which loads it, should have been made before. Errors: as require_success().
[[nodiscard]] double median_seconds(const std::function<void()>& enqueue);

}  // namespace lastbit::cuda
