// Parallel loops whose results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>

namespace lastbit::core {

// Sets the number of threads that parallel_for may use; 0 means all cores. Call it once, before the first loop.
void set_num_threads(int threads);
[[nodiscard]] int num_threads();

// Calls body(begin, end) for consecutive ranges that cover [0, total). Ranges have `grain` elements (the last one
// may have fewer): they depend on `total` and `grain` alone, never on the number of threads, so a body that writes
// only its own range gives the same bits everywhere. Exceptions of the body reach the caller.
void parallel_for(std::int64_t total, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace lastbit::core
