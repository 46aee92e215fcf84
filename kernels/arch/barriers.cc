#include "kernels/arch/barriers.h"

#include "kernels/arch/mbarrier_state.h"

namespace lastbit::arch {
namespace {

using simt::Block;
using simt::FindingKind;

}  // namespace

unsigned shared_address(const void* pointer) {
  const auto offset = static_cast<std::uint64_t>(static_cast<const unsigned char*>(pointer) - simt::dynamic_shared());
  if (offset >= simt::kMostSharedBytes)
    Block::current()->fail(FindingKind::kMisuse, "an asynchronous operation outside of dynamic shared memory");
  return static_cast<unsigned>(offset);
}

simt::Mbarrier& mbarrier_state(const std::uint64_t* barrier) {
  Block& block = *Block::current();
  const auto address = reinterpret_cast<std::uintptr_t>(barrier);
  const auto found = block.async().mbarriers().find(address);
  if (found == block.async().mbarriers().end()) block.fail(FindingKind::kMisuse, "an mbarrier that nobody initialised");
  // Like an atomic operation on what mbarrier_init() wrote: a finding without an order between the two.
  block.access(address, sizeof(*barrier), simt::Access::kAtomic);
  return found->second;
}

void named_barrier(int id, int threads, simt::Site site) { Block::current()->barrier(id, threads, site); }

void mbarrier_init(std::uint64_t* barrier, int arrivals) {
  Block& block = *Block::current();
  const auto address = reinterpret_cast<std::uintptr_t>(barrier);
  (void)shared_address(barrier);
  if (address % 8 != 0 || arrivals < 1)
    block.fail(FindingKind::kMisuse, fmt::format("mbarrier_init of {} arrivals, expected at least 1 and an address "
                                                 "that is a multiple of 8",
                                                 arrivals));
  block.access(address, sizeof(*barrier), simt::Access::kWrite);
  simt::Mbarrier state;
  state.expected = state.missing = arrivals;
  block.async().mbarriers()[address] = state;
}

void mbarrier_arrive(std::uint64_t* barrier) { mbarrier_arrive_expect(barrier, 0); }

void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes) {
  Block& block = *Block::current();
  simt::Mbarrier& state = mbarrier_state(barrier);
  if (state.missing == 0) block.fail(FindingKind::kMisuse, "more arrivals at an mbarrier than its phase has");
  simt::Clocks::Knowledge mine;
  block.clocks().release(block.thread(), mine);
  state.learn(mine);
  state.bytes += bytes;
  --state.missing;
  state.complete_if_done();
}

void mbarrier_wait(std::uint64_t* barrier, unsigned parity, simt::Site site) {
  Block& block = *Block::current();
  const simt::Mbarrier& state = mbarrier_state(barrier);
  block.wait({"for parity {} of an mbarrier", parity}, site, [&state, parity] { return (state.phase & 1U) != parity; });
  block.clocks().acquire(block.thread(), state.known);
}

void fence_proxy_async() { Block::current()->fence_async(); }
void fence_mbarrier_init() { Block::current()->fence_async(); }

}  // namespace lastbit::arch
