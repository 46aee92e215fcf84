#include "core/heap.h"

#include <cstdlib>
#include <limits>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace lastbit::core {

void keep_freed_memory() {
#if defined(__GLIBC__)
  constexpr int kMostThreshold = 32 << 20;  // that glibc takes
  (void)mallopt(M_MMAP_THRESHOLD, kMostThreshold);
  (void)mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace lastbit::core
