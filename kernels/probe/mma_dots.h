// Dots through a tensor core's mma.sync: what `probe` asks of a GPU.
#pragma once

#include "kernels/arch/mma_sync_words.h"

namespace lastbit::kernels {

// d[i] = a[i, :] . b[i, :] + c[i] in `steps` instructions, one after the other along K; a and b: [n, steps, 32 bytes]
// of codes, c and d: [n] FP32. Errors: as simt::launch().
struct MmaDots {
  const unsigned* a;
  const unsigned* b;
  const float* c;
  float* d;
  int n;
  int steps;
};
void mma_dots(arch::MmaTypes types, const MmaDots& dots);

}  // namespace lastbit::kernels
