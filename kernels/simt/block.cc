#include "kernels/simt/block.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <numeric>
#include <span>
#include <string_view>

namespace lastbit::simt {
namespace {

Index3 plain(dim3 index) { return {index.x, index.y, index.z}; }

// Fibers of all blocks, one a stack.
Fiber& fiber_of(int thread) {
  static std::array<Fiber, kMostThreads> fibers;
  return fibers[static_cast<std::size_t>(thread)];
}

// Where a launch schedules its blocks.
Fiber& scheduler() {
  static Fiber fiber;
  return fiber;
}

std::string text_of(dim3 index) { return fmt::format("({}, {}, {})", index.x, index.y, index.z); }

dim3 index_in(dim3 size, int linear) {
  const auto i = static_cast<unsigned>(linear);
  return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

}  // namespace

Block* Block::current_ = nullptr;

Block::Block(const BlockPlace& place, Order order)
    : place_(place),
      order_(order),
      turns_(place.serial - place.first_serial, "turns"),
      memory_(MemoryMap::instance()),
      threads_(place.block.x * place.block.y * place.block.z) {
  clocks_.reset(threads());
  alive_.assign(kMostWarps + Meeting::kWarps, 0);
  for (int i = 0; i < threads(); ++i) alive_[static_cast<std::size_t>(i / kWarpLanes)] |= bit(i);
  std::copy_n(alive_.begin(), kMostWarps, runnable_.begin());
}

Block::Turn Block::turn_of(int count, std::uint64_t turn) const {
  Turn result;
  std::iota(result.begin(), result.end(), std::uint8_t{0});
  const auto size = static_cast<std::size_t>(count);
  if (order_ == Order::kReverse) std::reverse(result.begin(), result.begin() + count);
  if (order_ == Order::kShuffled)
    for (std::size_t i = size - 1; i > 0; --i)
      std::swap(result[i], result[turns_.word(turn * kMostWarps + i) % (i + 1)]);
  return result;
}

void Block::run(const std::function<void()>& kernel) {
  const Fiber::Job job = [&] {
    kernel();
    return end_thread();
  };
  for (int i = 0; i < threads(); ++i) {
    threads_[static_cast<std::size_t>(i)].index = plain(index_in(place_.block, i));
    fiber_of(i).start(i, &job);
  }
  set_block_indices(plain(place_.index), plain(place_.block), plain(place_.grid));
  const int warps = (threads() + kWarpLanes - 1) / kWarpLanes;
  std::uint64_t turn = 0;
  while (ended_ < threads() && !finding_) {
    bool ran = false;
    const auto lane_turn = static_cast<std::uint32_t>(++turn);
    const Turn warp_turn = turn_of(warps, ++turn);
    for (int i = 0; i < warps; ++i) ran |= !finding_ && run_warp(warp_turn[static_cast<std::size_t>(i)], lane_turn);
    if (finding_) break;
    const bool sometimes = order_ == Order::kShuffled && turns_.word(turn * kMostWarps) % 2 == 0;
    if ((!ran || sometimes) && async_.end_one()) ran = true;
    if (!ran) finding_ = deadlock();
  }
  if (!finding_ && !async_.idle())
    finding_ = Finding(FindingKind::kInFlight, fmt::format("kernel {}, block {}: in flight: the block ends before "
                                                           "asynchronous copies that it began",
                                                           place_.kernel, text_of(place_.index)));
  if (finding_) throw *finding_;
}

bool Block::run_warp(int warp, std::uint32_t lane_turn) {
  first_ = warp * kWarpLanes;
  lanes_ = std::min(kWarpLanes, threads() - first_);
  lane_turn_ = turn_of(lanes_, (std::uint64_t{1} << 26) + lane_turn);
  turn_ = 0;
  passed_ = 0;
  const int thread = pick();
  if (thread < 0) return false;
  Fiber& fiber = enter(thread);
  current_ = this;
  scheduler().switch_to(fiber);
  current_ = nullptr;
  return true;
}

// The thread of the warp that runs next, or -1 when none can go on.
int Block::pick() {
  if (finding_) return -1;
  const auto warp = static_cast<std::size_t>(first_ / kWarpLanes);
  for (; passed_ < lanes_; ++passed_) {
    const int lane = lane_turn_[static_cast<std::size_t>(turn_)];
    turn_ = turn_ + 1 == lanes_ ? 0 : turn_ + 1;
    if ((asking_[warp] & bit(lane)) != 0) {
      ThreadState& one = threads_[static_cast<std::size_t>(first_ + lane)];
      if (!one.ready()) continue;
      one.ready = nullptr;
      asking_[warp] &= ~bit(lane);
      runnable_[warp] |= bit(lane);
    }
    if ((runnable_[warp] & bit(lane)) == 0) continue;
    passed_ = 0;
    return first_ + lane;
  }
  return -1;
}

// Makes `thread` the one that runs, once its fiber is switched to.
Fiber& Block::enter(int thread) {
  Fiber& fiber = fiber_of(thread);
  running_ = thread;
  stack_ = fiber.stack();
  steps_ = 0;
  set_thread_index(threads_[static_cast<std::size_t>(thread)].index);
  return fiber;
}

// From the thread that runs to the next; back when it is this one's turn again and it waits no longer.
void Block::hand_over() {
  Fiber& mine = fiber_of(running_);
  const int next = pick();
  Fiber& other = next < 0 ? scheduler() : enter(next);
  if (&other != &mine) mine.switch_to(other);
}

// Both live as long as the thread waits.
void Block::pause(const WaitReason& reason, const Site& site) {
  ThreadState& mine = self();
  mine.reason = &reason;
  mine.wait_site = &site;
  hand_over();
}

void Block::wait(const WaitReason& reason, Site site, std::function<bool()> ready) {
  if (ready()) return;
  self().ready = std::move(ready);
  runnable(running_) &= ~bit(running_);
  asking_[static_cast<std::size_t>(running_ / kWarpLanes)] |= bit(running_);
  pause(reason, site);
}

void Block::note(FindingKind kind, const std::string& text) {
  finding_.emplace(kind, fmt::format("kernel {}, block {}, thread {}: {}: {}", place_.kernel, text_of(place_.index),
                                     thread_text(running_), to_string(kind), text));
}

void Block::give_up() {
  if (current_ == nullptr) throw *finding_;  // of an asynchronous operation that ends while the threads wait
  hand_over();
  std::terminate();  // nobody resumes a thread of a block that failed
}

Fiber* Block::end_thread() {
  if (!groups_.empty())
    for (const AsyncGroups& groups : groups_[static_cast<std::size_t>(running_)])
      if (!groups.empty())
        fail(FindingKind::kInFlight, "the thread ends before asynchronous operations that it has not waited for");
  ++ended_;
  alive_[static_cast<std::size_t>(running_ / kWarpLanes)] &= ~bit(running_);
  runnable(running_) &= ~bit(running_);
  // Nobody waits any longer for this thread's lane.
  for (std::size_t i = open_.size(); i > 0; --i) finish_if_complete(i - 1);
  const int next = pick();
  return next < 0 ? &scheduler() : &enter(next);
}

std::string Block::thread_text(int thread) const { return text_of(index_in(place_.block, thread)); }

Finding Block::deadlock() const {
  std::string text;
  int listed = 0;
  Site before;
  std::string last;
  for (int i = 0; i < threads() && listed < 3; ++i) {
    const ThreadState& one = threads_[static_cast<std::size_t>(i)];
    if ((alive_[static_cast<std::size_t>(i / kWarpLanes)] & bit(i)) == 0) continue;
    const WaitReason& reason = *one.reason;
    const std::string what = fmt::vformat(reason.text, fmt::make_format_args(reason.value, reason.name));
    if (listed > 0 && *one.wait_site == before && what == last) continue;
    before = *one.wait_site;
    last = what;
    text += fmt::format("{}thread {} waits {} at {}", listed == 0 ? "" : "; ", thread_text(i), what, before.text());
    ++listed;
  }
  if (ended_ > 0) text += fmt::format("; {} of {} threads have ended", ended_, threads());
  return {FindingKind::kBarrier, fmt::format("kernel {}, block {}: barrier: nobody can go on: {}", place_.kernel,
                                             text_of(place_.index), text)};
}

// ---- barriers

void Block::arrive(int id, int count, Site site) {
  if (id < 0 || id >= kNamedBarriers)
    fail(FindingKind::kMisuse,
         [&] { return fmt::format("barrier {} at {}, expected 0 to {}", id, site.text(), kNamedBarriers - 1); });
  const int expected = count < 0 ? threads() : count;
  if (count >= 0 && (count == 0 || count % kWarpLanes != 0 || count > threads()))
    fail(FindingKind::kMisuse, [&] {
      return fmt::format("barrier {} of {} threads at {}, expected a multiple of 32, up to {}", id, count, site.text(),
                         threads());
    });
  BarrierState& barrier = barriers_[static_cast<std::size_t>(id)];
  if (!barrier.came.empty() && barrier.expected != expected)
    fail(FindingKind::kBarrier, [&] {
      return fmt::format("barrier {} at {} is of {} threads, but of {} at {}", id, site.text(), expected,
                         barrier.expected, barrier.site.text());
    });
  if (!barrier.came.empty() && count < 0 && !(barrier.site == site))
    fail(FindingKind::kBarrier, [&] {
      return fmt::format("__syncthreads at {}, while thread {} is at the one at {}", site.text(),
                         thread_text(barrier.came.front()), barrier.site.text());
    });
  barrier.expected = expected;
  barrier.site = site;
  barrier.came.push_back(running_);
  self().last_barrier = site;
}

void Block::barrier_arrive(int id, int count, Site site) {
  arrive(id, count, site);
  BarrierState& barrier = barriers_[static_cast<std::size_t>(id)];
  if (static_cast<int>(barrier.came.size()) < barrier.expected) return;
  if (barrier.expected == threads())
    clocks_.meet_all();
  else
    clocks_.meet(barrier.came);
  for (const int thread : barrier.waiting) runnable(thread) |= bit(thread);
  barrier.came.clear();
  barrier.waiting.clear();
}

void Block::barrier(int id, int count, Site site) {
  barrier_arrive(id, count, site);
  // The last to come finds the barrier empty again.
  BarrierState& barrier = barriers_[static_cast<std::size_t>(id)];
  if (barrier.came.empty()) return;
  barrier.waiting.push_back(running_);
  runnable(running_) &= ~bit(running_);
  pause({id == 0 ? "in __syncthreads" : "at barrier {}", static_cast<std::uint32_t>(id)}, site);
}

void Block::fence_async() {
  self().fence_clock = clocks_.now(running_);
  clocks_.tick(running_);
}

// ---- what threads do together

void Block::meet(const MeetingCall& call, Finish finish) {
  const int first = running_ & ~(call.threads - 1);  // teams have powers of two
  const int member = running_ - first;
  if (call.threads == kWarpLanes && (call.mask >> member & 1U) == 0)
    fail(FindingKind::kWarp, [&] {
      return fmt::format("{} at {}: the calling lane {} is not in its own mask {:#x}", call.name, call.site.text(),
                         member, call.mask);
    });
  std::size_t index = 0;
  while (index < open_.size() && !(open_[index].meeting.first == first && open_[index].meeting.call.mask == call.mask &&
                                   open_[index].meeting.call.threads == call.threads))
    ++index;
  if (index == open_.size()) open_.emplace_back(call, first, finish);
  Meeting& meeting = open_[index].meeting;
  if (meeting.call.name != call.name && std::string_view(meeting.call.name) != call.name)
    fail(FindingKind::kWarp, [&] {
      return fmt::format("{} at {}, while other lanes of the mask are in {} at {}", call.name, call.site.text(),
                         meeting.call.name, meeting.call.site.text());
    });
  const auto i = static_cast<std::size_t>(member);
  meeting.came[i / kWarpLanes] |= bit(member);
  meeting.payloads[i] = call.payload;
  runnable(running_) &= ~bit(running_);
  finish_if_complete(index);
  if ((runnable(running_) & bit(running_)) == 0) pause({"in {1} with mask {0:#x}", call.mask, call.name}, call.site);
}

// Payloads are set as members come.
Block::Open::Open(const MeetingCall& call, int first, Finish finisher) : finish(finisher) {
  meeting.call = call;
  meeting.first = first;
  meeting.came.fill(0);
}

void Block::finish_if_complete(std::size_t index) {
  const Meeting& meeting = open_[index].meeting;
  const auto warps = static_cast<std::size_t>(meeting.call.threads / kWarpLanes);
  const auto first_warp = static_cast<std::size_t>(meeting.first / kWarpLanes);
  for (std::size_t w = 0; w < warps; ++w) {
    const std::uint32_t mask = warps == 1 ? meeting.call.mask : ~0U;
    if (meeting.came[w] != (mask & alive_[first_warp + w])) return;
  }
  if (meeting.call.orders_memory) {
    std::array<int, kGroupThreads> all;
    std::size_t count = 0;
    for (std::size_t w = 0; w < warps; ++w)
      for (std::uint32_t left = meeting.came[w]; left != 0; left &= left - 1)
        all[count++] = meeting.first + static_cast<int>(w) * kWarpLanes + std::countr_zero(left);
    clocks_.meet(std::span<const int>(all.data(), count));
  }
  open_[index].finish(meeting);
  for (std::size_t w = 0; w < warps; ++w) runnable_[first_warp + w] |= meeting.came[w];
  open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
}

}  // namespace lastbit::simt

void __syncthreads(lastbit::simt::Site site) { lastbit::simt::Block::current()->barrier(0, -1, site); }

namespace lastbit::simt {
void meet(const MeetingCall& call, Finish finish) { Block::current()->meet(call, finish); }
}  // namespace lastbit::simt
