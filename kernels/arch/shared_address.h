// Addresses of shared memory as instructions have them: 32 bits, from the beginning of the block's window.
#pragma once

#include "kernels/simt/cuda.h"

namespace lastbit::arch {

#if defined(__CUDACC__)
__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}
#else
// Within dynamic shared memory, the one kind that asynchronous operations take here. Anything else is a finding.
[[nodiscard]] unsigned shared_address(const void* pointer);
#endif

// The address of a byte that the 128-byte swizzle puts where it shall be: bits 4 to 6 xor bits 7 to 9. TMA writes and
// wgmma reads through it; generic loads and stores must apply it themselves. Source: PTX ISA, "Swizzling modes".
__host__ __device__ constexpr unsigned swizzle_128(unsigned address) { return address ^ ((address >> 3) & 0x70U); }

}  // namespace lastbit::arch
