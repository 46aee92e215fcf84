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
  void access(std::uintptr_t address, std::size_t bytes, Access access);
  // Likewise, but by the asynchronous proxy: what generic stores wrote must be behind a fence of the writer's.
  void access_async(std::uintptr_t address, std::size_t bytes, Access access);
  void barrier(int id, int threads, Site site);         // id 0, threads -1: __syncthreads
  void barrier_arrive(int id, int threads, Site site);  // does not wait
  void meet(const MeetingCall& call, Finish finish);
  // Until `ready` is true; `what` completes "waits ..." where that never comes.
  void wait(const std::string& what, Site site, std::function<bool()> ready);
  void fence_async();  // fence.proxy.async
  // Bytes that an asynchronous operation of this thread will write until `flies` is false again, and such that it will
  // read: `change` is 1 at the beginning and -1 at the end, which any thread may tell.
  void set_in_flight(std::uintptr_t address, std::size_t bytes, bool flies);
  void add_pending_reads(std::uintptr_t address, std::size_t bytes, int change);
  // Whether wgmma.fence came since the accumulators were last free to be touched.
  [[nodiscard]] bool& product_fence() { return self().product_fence; }
  [[nodiscard]] AsyncGroups& groups(GroupKind kind) { return self().groups[static_cast<std::size_t>(kind)]; }
  [[noreturn]] void fail(FindingKind kind, const std::string& text);

  [[nodiscard]] Clocks& clocks() { return clocks_; }
  [[nodiscard]] AsyncMemory& async() { return async_; }
  [[nodiscard]] Order order() const { return order_; }
  [[nodiscard]] std::string thread_text(int thread) const;

 private:
  struct Thread {
    Fiber fiber;
    bool waits = false;
    bool ended = false;
    std::function<bool()> ready;  // empty: somebody wakes it
    std::string wait_text;
    Site wait_site;
    Site last_barrier;
    std::uint32_t fence_clock = 0;  // writes up to here are seen by the asynchronous proxy
    bool product_fence = false;
    std::array<AsyncGroups, kGroupKinds> groups;
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
  void pause(const std::string& what, Site site);
  [[nodiscard]] std::vector<int> turn_of(int count, std::uint64_t turn) const;
  [[nodiscard]] Finding deadlock() const;
  [[noreturn]] void fail_access(Conflict conflict, std::uintptr_t address, std::size_t bytes, Access access, int other);
  [[nodiscard]] Toucher toucher() const;
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
  std::vector<Thread> threads_;
  std::array<Barrier, kNamedBarriers> barriers_;
  std::vector<Open> open_;
  int running_ = 0;
  const std::byte* stack_ = nullptr;
  std::uint64_t steps_ = 0;  // accesses since the running thread began to run
  int ended_ = 0;
  std::optional<Finding> finding_;
};

}  // namespace lastbit::simt
