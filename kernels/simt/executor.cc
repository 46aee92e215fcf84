// launch() on the host: the blocks of a grid, one after the other.
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/launch.h"

namespace lastbit::simt {
namespace {

std::mutex one_launch;  // the map of memory and threadIdx are the program's
std::uint32_t last_serial = 0;

void require_shape(const LaunchShape& shape) {
  const auto product = [](dim3 size) { return std::uint64_t{size.x} * size.y * size.z; };
  if (product(shape.block) == 0 || product(shape.block) > kMostThreads || shape.block.z > 64)
    core::fail_input("kernel {}: a block of {} x {} x {} threads, expected 1 to {}", shape.kernel, shape.block.x,
                     shape.block.y, shape.block.z, kMostThreads);
  constexpr std::uint64_t kMostBlocks = 0x7fffffff;
  if (product(shape.grid) == 0 || product(shape.grid) > kMostBlocks || shape.grid.y > 65535 || shape.grid.z > 65535)
    core::fail_input("kernel {}: a grid of {} x {} x {} blocks, expected 1 to {} (65535 in y and z)", shape.kernel,
                     shape.grid.x, shape.grid.y, shape.grid.z, kMostBlocks);
  if (shape.shared_bytes > kMostSharedBytes)
    core::fail_input("kernel {}: {} bytes of dynamic shared memory, expected at most {}", shape.kernel,
                     shape.shared_bytes, kMostSharedBytes);
}

std::vector<std::uint32_t> block_order(std::uint32_t count, Order order) {
  std::vector<std::uint32_t> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0U);
  if (order == Order::kReverse) std::ranges::reverse(blocks);
  if (order == Order::kShuffled) {
    const core::RandomStream stream(1, "blocks");
    for (std::size_t i = blocks.size() - 1; i > 0; --i) std::swap(blocks[i], blocks[stream.word(i) % (i + 1)]);
  }
  return blocks;
}

}  // namespace

unsigned char* dynamic_shared() { return reinterpret_cast<unsigned char*>(MemoryMap::instance().dynamic()); }

void launch_on_host(const LaunchShape& shape, const void* call, std::size_t call_bytes, void (*run)(const void* call)) {
  require_shape(shape);
  const std::lock_guard lock(one_launch);
  MemoryMap& memory = MemoryMap::instance();
  memory.set_dynamic_bytes(shape.shared_bytes);
  memory.set_arguments(call, call_bytes);
  const std::uint32_t blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  const std::uint32_t first_serial = last_serial + 1;
  last_serial += blocks;
  const Order order = OrderScope::current();
  for (const std::uint32_t i : block_order(blocks, order)) {
    const dim3 index{i % shape.grid.x, i / shape.grid.x % shape.grid.y, i / shape.grid.x / shape.grid.y};
    Block block({shape.kernel, shape.grid, shape.block, index, first_serial + i, first_serial}, order);
    block.run([&] { run(call); });
  }
}

}  // namespace lastbit::simt
