// One block of a launch: its threads, the order in which they run, and what they wait for.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/philox.h"
#include "kernels/simt/async_groups.h"
#include "kernels/simt/async_memory.h"
#include "kernels/simt/block_place.h"
#include "kernels/simt/builtin_indices.h"
#include "kernels/simt/clocks.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/language.h"
#include "kernels/simt/meeting.h"
#include "kernels/simt/memory_map.h"
#include "kernels/simt/order.h"

namespace lastbit::simt {

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
  [[gnu::always_inline]] void access(std::uintptr_t address, std::size_t bytes, Access access) {
    const MemoryMap::Range* const range = memory_.find(address, bytes);
    if (++steps_ <= kMostSteps && range != nullptr &&
        range->shadow->touch_quickly(address - range->begin, bytes, access, toucher(range->shared)))
      return;
    check_access(address, bytes, access);
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
  // The thread is given up as it stands: what its frames own would leak, so callers own nothing, and a text that is
  // more than a literal is what `text` returns. Out of line: frames of a thread's functions stay small.
  template <typename Text>
  [[noreturn, gnu::cold, gnu::noinline]] void fail(FindingKind kind, const Text& text) {
    if constexpr (std::is_invocable_v<Text>)
      note(kind, text());
    else
      note(kind, text);
    give_up();
  }

  [[nodiscard]] Clocks& clocks() { return clocks_; }
  [[nodiscard]] AsyncMemory& async() { return async_; }
  [[nodiscard]] Order order() const { return order_; }
  [[nodiscard]] std::string thread_text(int thread) const;

 private:
  static constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 33;  // of a thread that never waits: minutes

  [[nodiscard]] int threads() const { return static_cast<int>(threads_.size()); }
  [[nodiscard]] ThreadState& self() { return threads_[static_cast<std::size_t>(running_)]; }
  bool run_warp(int warp, std::uint32_t lane_turn);
  [[nodiscard]] int pick();
  Fiber& enter(int thread);
  void hand_over();
  Fiber* end_thread();
  void arrive(int id, int count, Site site);
  void finish_if_complete(std::size_t open);
  static std::uint32_t bit(int thread) { return 1U << thread % kWarpLanes; }
  [[nodiscard]] std::uint32_t& runnable(int thread) { return runnable_[static_cast<std::size_t>(thread / kWarpLanes)]; }
  void pause(const WaitReason& reason, const Site& site);
  void note(FindingKind kind, const std::string& text);
  [[noreturn]] void give_up();
  // The order of warps, or of a warp's lanes.
  using Turn = std::array<std::uint8_t, kWarpLanes>;
  static_assert(kMostWarps <= kWarpLanes);
  [[nodiscard]] Turn turn_of(int count, std::uint64_t turn) const;
  [[nodiscard]] Finding deadlock() const;
  [[nodiscard]] std::string conflict_text(Conflict conflict, std::uintptr_t address, std::size_t bytes, Access access,
                                          int other) const;
  [[nodiscard]] Toucher toucher(bool shared) const {
    return {place_.serial, place_.first_serial, running_, clocks_.now(running_), shared, clocks_.floor(), clocks_};
  }
  void check_access(std::uintptr_t address, std::size_t bytes, Access access);
  template <typename Visit>
  void each_shared_cell(std::uintptr_t address, std::size_t bytes, const Visit& visit);
  [[nodiscard]] std::string where(std::uintptr_t address, std::size_t bytes) const;

  struct Open {
    Open(const MeetingCall& call, int first, Finish finisher);
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
  std::vector<ThreadState> threads_;
  std::vector<std::array<AsyncGroups, kGroupKinds>> groups_;  // of each thread, once one of them has any
  std::vector<std::uint32_t> alive_;                          // of each warp the lanes that have not ended
  std::array<std::uint32_t, kMostWarps> runnable_{};          // and those of them that do not wait
  std::array<std::uint32_t, kMostWarps> asking_{};            // or until Thread::ready says so
  std::array<BarrierState, kNamedBarriers> barriers_;
  std::vector<Open> open_;
  // The warp that runs: its lanes take their turns until none of them can go on.
  Turn lane_turn_{};
  int first_ = 0;  // its first thread
  int lanes_ = 0;
  int turn_ = 0;    // the next lane's, of lane_turn_
  int passed_ = 0;  // lanes that could not go on since the last that could
  int running_ = 0;
  const std::byte* stack_ = nullptr;
  std::uint64_t steps_ = 0;  // accesses since the running thread began to run
  int ended_ = 0;
  std::optional<Finding> finding_;
};

}  // namespace lastbit::simt
