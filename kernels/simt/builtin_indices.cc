// threadIdx and its kin as the executor sees them: variables. To kernels they are constants (language.h), which this
// file does not include, so that compilers do not check loads of them. They have values, which keeps them from among
// the variables that the executor takes for shared memory.
#include "kernels/simt/builtin_indices.h"

lastbit::simt::Index3 threadIdx{~0U, 0, 0};
lastbit::simt::Index3 blockIdx{~0U, 0, 0};
lastbit::simt::Index3 blockDim{~0U, 0, 0};
lastbit::simt::Index3 gridDim{~0U, 0, 0};

namespace lastbit::simt {

void set_thread_index(const Index3& index) { ::threadIdx = index; }

void set_block_indices(const Index3& block, const Index3& size, const Index3& grid) {
  ::blockIdx = block;
  ::blockDim = size;
  ::gridDim = grid;
}

}  // namespace lastbit::simt
