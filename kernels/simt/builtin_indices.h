// The executor's way to threadIdx, blockIdx, blockDim and gridDim.
#pragma once

namespace lastbit::simt {

struct Index3 {
  unsigned x, y, z;
};

void set_thread_index(const Index3& index);  // of the thread that is to run
void set_block_indices(const Index3& block, const Index3& size, const Index3& grid);

}  // namespace lastbit::simt
