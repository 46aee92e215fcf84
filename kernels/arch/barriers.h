// Barriers beyond __syncthreads: named ones (sm_80), mbarriers with their phases, and fences between the generic and
// the asynchronous proxy (sm_90).
#pragma once

#include <cstdint>

#include "kernels/arch/shared_address.h"

namespace lastbit::arch {

#if defined(__CUDACC__)
// `threads` of the block, a multiple of 32, meet at barrier `id`, 1 to 15.
__device__ inline void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
// Of a barrier that `arrivals` threads complete. One thread initialises it; then fence_mbarrier_init() and a barrier.
__device__ inline void mbarrier_init(std::uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ inline void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state, [%0];}" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives and announces bytes that an asynchronous copy will bring in this phase.
__device__ inline void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}
// Until the phase of this parity is complete: 0 for the first, then alternating.
__device__ inline void mbarrier_wait(std::uint64_t* barrier, unsigned parity) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{.reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @done bra.uni end; bra.uni "
      "again; end: }" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}
// What this thread wrote to shared memory is seen by the asynchronous proxy (TMA stores, wgmma).
__device__ inline void fence_proxy_async() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}
__device__ inline void fence_mbarrier_init() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
#else
void named_barrier(int id, int threads, simt::Site site = {__builtin_FILE(), __builtin_LINE()});
void mbarrier_init(std::uint64_t* barrier, int arrivals);
void mbarrier_arrive(std::uint64_t* barrier);
void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes);
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, simt::Site site = {__builtin_FILE(), __builtin_LINE()});
void fence_proxy_async();
void fence_mbarrier_init();
#endif

}  // namespace lastbit::arch
