#include "kernels/simt/block.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <string_view>

dim3 threadIdx{~0U, 0, 0};  // with values: not among what the executor takes for shared memory
dim3 blockIdx{~0U, 0, 0};
dim3 blockDim{~0U, 0, 0};
dim3 gridDim{~0U, 0, 0};

namespace lastbit::simt {
namespace {

std::string text_of(dim3 index) { return fmt::format("({}, {}, {})", index.x, index.y, index.z); }

dim3 index_in(dim3 size, int linear) {
  const auto i = static_cast<unsigned>(linear);
  return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

}  // namespace

Block* Block::current_ = nullptr;

Block::Block(const BlockPlace& place, Order order)
    : place_(place), order_(order), turns_(place.serial - place.first_serial, "turns") {
  const int count = static_cast<int>(place.block.x * place.block.y * place.block.z);
  threads_ = std::vector<Thread>(static_cast<std::size_t>(count));
  clocks_.reset(count);
}

std::vector<int> Block::turn_of(int count, std::uint64_t turn) const {
  std::vector<int> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), 0);
  if (order_ == Order::kReverse) std::ranges::reverse(result);
  if (order_ == Order::kShuffled)
    for (std::size_t i = result.size() - 1; i > 0; --i)
      std::swap(result[i], result[turns_.word(turn * kMostWarps + i) % (i + 1)]);
  return result;
}

void Block::run(const std::function<void()>& kernel) {
  const std::function<void()> body = [&] {
    kernel();
    end_thread();
  };
  for (int i = 0; i < threads(); ++i) threads_[static_cast<std::size_t>(i)].fiber.start(i, body);
  const int warps = (threads() + kWarpLanes - 1) / kWarpLanes;
  std::uint64_t turn = 0;
  while (ended_ < threads() && !finding_) {
    bool ran = false;
    const auto lane_turn = static_cast<std::uint32_t>(++turn);
    for (const int warp : turn_of(warps, ++turn)) ran |= !finding_ && run_warp(warp, lane_turn);
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
  const int first = warp * kWarpLanes;
  const int lanes = std::min(kWarpLanes, threads() - first);
  const std::vector<int> turn = turn_of(lanes, (std::uint64_t{1} << 26) + lane_turn);
  bool ran = false;
  for (bool again = true; again && !finding_;) {
    again = false;
    for (const int lane : turn) again |= !finding_ && resume(first + lane);
    ran |= again;
  }
  return ran;
}

bool Block::resume(int thread) {
  Thread& one = threads_[static_cast<std::size_t>(thread)];
  if (one.ended) return false;
  if (one.waits) {
    if (!one.ready || !one.ready()) return false;
    one.waits = false;
    one.ready = nullptr;
  }
  running_ = thread;
  stack_ = one.fiber.stack();
  steps_ = 0;
  threadIdx = index_in(place_.block, thread);
  blockIdx = place_.index;
  blockDim = place_.block;
  gridDim = place_.grid;
  current_ = this;
  one.fiber.resume();
  current_ = nullptr;
  return true;
}

void Block::pause(const std::string& what, Site site) {
  Thread& mine = self();
  mine.waits = true;
  mine.wait_text = what;
  mine.wait_site = site;
  mine.fiber.pause();
}

void Block::wait(const std::string& what, Site site, std::function<bool()> ready) {
  if (ready()) return;
  self().ready = std::move(ready);
  pause(what, site);
}

void Block::fail(FindingKind kind, const std::string& text) {
  finding_ = Finding(kind, fmt::format("kernel {}, block {}, thread {}: {}: {}", place_.kernel, text_of(place_.index),
                                       thread_text(running_), to_string(kind), text));
  self().waits = true;
  self().fiber.pause();
  std::terminate();  // nobody resumes a thread of a block that failed
}

void Block::end_thread() {
  for (const AsyncGroups& groups : self().groups)
    if (!groups.empty())
      fail(FindingKind::kInFlight, "the thread ends before asynchronous operations that it has not waited for");
  self().ended = true;
  ++ended_;
  // Nobody waits any longer for this thread's lane.
  for (std::size_t i = open_.size(); i > 0; --i) finish_if_complete(i - 1);
}

std::string Block::thread_text(int thread) const { return text_of(index_in(place_.block, thread)); }

Finding Block::deadlock() const {
  std::string text;
  int listed = 0;
  Site before;
  std::string what;
  for (int i = 0; i < threads() && listed < 3; ++i) {
    const Thread& one = threads_[static_cast<std::size_t>(i)];
    if (one.ended || (listed > 0 && one.wait_site == before && one.wait_text == what)) continue;
    before = one.wait_site;
    what = one.wait_text;
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
    fail(FindingKind::kMisuse, fmt::format("barrier {} at {}, expected 0 to {}", id, site.text(), kNamedBarriers - 1));
  const int expected = count < 0 ? threads() : count;
  if (count >= 0 && (count == 0 || count % kWarpLanes != 0 || count > threads()))
    fail(FindingKind::kMisuse, fmt::format("barrier {} of {} threads at {}, expected a multiple of 32, up to {}", id,
                                           count, site.text(), threads()));
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (!barrier.came.empty() && barrier.expected != expected)
    fail(FindingKind::kBarrier, fmt::format("barrier {} at {} is of {} threads, but of {} at {}", id, site.text(),
                                            expected, barrier.expected, barrier.site.text()));
  if (!barrier.came.empty() && count < 0 && !(barrier.site == site))
    fail(FindingKind::kBarrier, fmt::format("__syncthreads at {}, while thread {} is at the one at {}", site.text(),
                                            thread_text(barrier.came.front()), barrier.site.text()));
  barrier.expected = expected;
  barrier.site = site;
  barrier.came.push_back(running_);
  self().last_barrier = site;
}

void Block::barrier_arrive(int id, int count, Site site) {
  arrive(id, count, site);
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (static_cast<int>(barrier.came.size()) < barrier.expected) return;
  if (barrier.expected == threads())
    clocks_.meet_all();
  else
    clocks_.meet(barrier.came);
  for (const int thread : barrier.waiting) wake(thread);
  barrier.came.clear();
  barrier.waiting.clear();
}

void Block::barrier(int id, int count, Site site) {
  barrier_arrive(id, count, site);
  // The last to come finds the barrier empty again.
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (barrier.came.empty()) return;
  barrier.waiting.push_back(running_);
  pause(id == 0 ? "in __syncthreads" : fmt::format("at barrier {}", id), site);
}

void Block::fence_async() {
  self().fence_clock = clocks_.now(running_);
  clocks_.tick(running_);
}

// ---- what threads do together

void Block::meet(const MeetingCall& call, Finish finish) {
  const int first = running_ / call.threads * call.threads;
  const int member = running_ - first;
  if (call.threads == kWarpLanes && (call.mask >> member & 1U) == 0)
    fail(FindingKind::kWarp, fmt::format("{} at {}: the calling lane {} is not in its own mask {:#x}", call.name,
                                         call.site.text(), member, call.mask));
  auto open = std::ranges::find_if(open_, [&](const Open& one) {
    return one.meeting.first == first && one.meeting.call.threads == call.threads && one.meeting.call.mask == call.mask;
  });
  if (open == open_.end()) {
    open_.push_back({{call, first}, finish});
    open = open_.end() - 1;
  }
  Meeting& meeting = open->meeting;
  if (std::string_view(meeting.call.name) != call.name)
    fail(FindingKind::kWarp, fmt::format("{} at {}, while other lanes of the mask are in {} at {}", call.name,
                                         call.site.text(), meeting.call.name, meeting.call.site.text()));
  meeting.came.set(static_cast<std::size_t>(member));
  meeting.payloads[static_cast<std::size_t>(member)] = call.payload;
  Thread& mine = self();
  mine.waits = true;
  finish_if_complete(static_cast<std::size_t>(open - open_.begin()));
  if (mine.waits) pause(fmt::format("in {} with mask {:#x}", call.name, call.mask), call.site);
}

void Block::finish_if_complete(std::size_t index) {
  const Meeting& meeting = open_[index].meeting;
  std::vector<int> members;
  for (int i = 0; i < meeting.call.threads && meeting.first + i < threads(); ++i) {
    if (meeting.call.threads == kWarpLanes && (meeting.call.mask >> i & 1U) == 0) continue;
    if (threads_[static_cast<std::size_t>(meeting.first + i)].ended) continue;
    if (!meeting.came.test(static_cast<std::size_t>(i))) return;
    members.push_back(meeting.first + i);
  }
  const Open done = open_[index];
  open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
  if (done.meeting.call.orders_memory) clocks_.meet(members);
  done.finish(done.meeting);
  for (const int thread : members) wake(thread);
}

}  // namespace lastbit::simt

void __syncthreads(lastbit::simt::Site site) { lastbit::simt::Block::current()->barrier(0, -1, site); }

namespace lastbit::simt {
void meet(const MeetingCall& call, Finish finish) { Block::current()->meet(call, finish); }
}  // namespace lastbit::simt
