// One block of a launch: its threads, the order in which they run, and what they wait for.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/philox.h"
#include "kernels/simt/async_groups.h"
#include "kernels/simt/async_memory.h"
#include "kernels/simt/builtin_indices.h"
#include "kernels/simt/clocks.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/language.h"
#include "kernels/simt/meeting.h"
#include "kernels/simt/memory_map.h"
#include "kernels/simt/order.h"

namespace lastbit::simt {

// Where a block stands in its launch.
struct BlockPlace {
  const char* kernel;
  dim3 grid;
  dim3 block;  // its size in threads
  dim3 index;
  std::uint32_t serial;        // counted over all launches of the program
  std::uint32_t first_serial;  // of the launch
};

// What a thread waits for, put into words only when it does so in vain: "at barrier 1".
struct WaitReason {
  const char* text;  // with a place for `value`
  std::uint32_t value = 0;
  const char* name = "";  // and, in front of it, for this
};

class Block {
 public:
  Block(const BlockPlace& place, Order order);

  // Runs `kernel` in every thread. Errors: a Finding, at the first one; the other threads are given up.
  void run(const std::function<void()>& kernel);

  // Null outside of kernels.
  [[nodiscard]] static Block* current() { return current_; }

  // What follows is for the thread that runs.
  [[nodiscard]] int thread() const { return running_; }
  [[nodiscard]] const std::byte* stack() const { return stack_; }
  void access(std::uintptr_t address, std::size_t bytes, Access access) {
    const MemoryMap::Found found = memory_.find(address, bytes, access == Access::kRead);
    if (++steps_ <= kMostSteps && found.range != nullptr &&
        found.range->shadow->touch_quickly(address - found.range->begin, bytes, access, toucher(found.shared)))
      return;
    check_access(found, address, bytes, access);
  }
  // Likewise, but by the asynchronous proxy: what generic stores wrote must be behind a fence of the writer's.
  void access_async(std::uintptr_t address, std::size_t bytes, Access access);
  void barrier(int id, int threads, Site site);         // id 0, threads -1: __syncthreads
  void barrier_arrive(int id, int threads, Site site);  // does not wait
  void meet(const MeetingCall& call, Finish finish);
  // Until `ready` is true.
  void wait(const WaitReason& reason, Site site, std::function<bool()> ready);
  void fence_async();  // fence.proxy.async
  // Bytes that an asynchronous operation of this thread will write until `flies` is false again, and such that it will
  // read: `change` is 1 at the beginning and -1 at the end, which any thread may tell.
  void set_in_flight(std::uintptr_t address, std::size_t bytes, bool flies);
  void add_pending_reads(std::uintptr_t address, std::size_t bytes, int change);
  // Whether wgmma.fence came since the accumulators were last free to be touched.
  [[nodiscard]] bool& product_fence() { return self().product_fence; }
  [[nodiscard]] AsyncGroups& groups(GroupKind kind) {
    if (groups_.empty()) groups_.resize(threads_.size());
    return groups_[static_cast<std::size_t>(running_)][static_cast<std::size_t>(kind)];
  }
  [[noreturn]] void fail(FindingKind kind, const std::string& text);

  [[nodiscard]] Clocks& clocks() { return clocks_; }
  [[nodiscard]] AsyncMemory& async() { return async_; }
  [[nodiscard]] Order order() const { return order_; }
  [[nodiscard]] std::string thread_text(int thread) const;

 private:
  static constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 33;  // of a thread that never waits: minutes

  struct Thread {
    Index3 index{};
    Fiber* fiber = nullptr;
    bool waits = false;
    bool ended = false;
    bool product_fence = false;
    std::uint32_t fence_clock = 0;  // writes up to here are seen by the asynchronous proxy
    std::function<bool()> ready;    // empty: somebody wakes it
    WaitReason reason{""};
    Site wait_site;
    Site last_barrier;
  };
  struct Barrier {
    int expected = 0;
    std::vector<int> came;
    std::vector<int> waiting;  // those of them that do
    Site site;
  };

  [[nodiscard]] int threads() const { return static_cast<int>(threads_.size()); }
  [[nodiscard]] Thread& self() { return threads_[static_cast<std::size_t>(running_)]; }
  bool run_warp(int warp, std::uint32_t lane_turn);
  bool resume(int thread);
  void end_thread();
  void arrive(int id, int count, Site site);
  void finish_if_complete(std::size_t open);
  void wake(int thread) { threads_[static_cast<std::size_t>(thread)].waits = false; }
  void pause(const WaitReason& reason, Site site);
  [[nodiscard]] std::vector<int> turn_of(int count, std::uint64_t turn) const;
  [[nodiscard]] Finding deadlock() const;
  [[noreturn]] void fail_access(Conflict conflict, std::uintptr_t address, std::size_t bytes, Access access, int other);
  [[nodiscard]] Toucher toucher(bool shared) const {
    return {place_.serial, place_.first_serial, running_, clocks_.now(running_), shared, clocks_.floor(), clocks_};
  }
  void check_access(const MemoryMap::Found& found, std::uintptr_t address, std::size_t bytes, Access access);
  void each_shared_cell(std::uintptr_t address, std::size_t bytes,
                        const std::function<void(Cell& cell, std::size_t offset)>& visit);
  [[nodiscard]] std::string where(std::uintptr_t address, std::size_t bytes) const;

  struct Open {
    Meeting meeting;
    Finish finish;
  };

  static Block* current_;
  BlockPlace place_;
  Order order_;
  core::RandomStream turns_;
  Clocks clocks_;
  AsyncMemory async_;
  MemoryMap& memory_;
  std::vector<Thread> threads_;
  std::vector<std::array<AsyncGroups, kGroupKinds>> groups_;  // of each thread, once one of them has any
  std::vector<std::uint32_t> alive_;                          // of each warp the lanes that have not ended
  std::array<Barrier, kNamedBarriers> barriers_;
  std::vector<Open> open_;
  int running_ = 0;
  const std::byte* stack_ = nullptr;
  std::uint64_t steps_ = 0;  // accesses since the running thread began to run
  int ended_ = 0;
  std::optional<Finding> finding_;
};

}  // namespace lastbit::simt
