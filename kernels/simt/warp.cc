#include "kernels/simt/warp.h"

#include "kernels/simt/block.h"

namespace lastbit::simt {
namespace {

struct Shuffle {
  std::uint64_t value;
  std::uint64_t result;
  int source;
  bool present;
};

void exchange(const Meeting& meeting) {
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    auto* const mine = meeting.payload<Shuffle>(lane);
    if (mine == nullptr) continue;
    const auto* const other = meeting.payload<Shuffle>(mine->source);
    mine->present = other != nullptr;
    if (other != nullptr) mine->result = other->value;
  }
}

struct Vote {
  bool predicate;
  std::uint32_t votes;
  std::uint32_t present;
};

void count_votes(const Meeting& meeting) {
  std::uint32_t votes = 0;
  std::uint32_t present = 0;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const auto* const one = meeting.payload<Vote>(lane);
    if (one == nullptr) continue;
    present |= 1U << lane;
    if (one->predicate) votes |= 1U << lane;
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    auto* const one = meeting.payload<Vote>(lane);
    if (one == nullptr) continue;
    one->votes = votes;
    one->present = present;
  }
}

void nothing(const Meeting& /*meeting*/) {}

}  // namespace

int this_lane() { return Block::current()->thread() % kWarpLanes; }

std::uint64_t shuffle(const char* name, unsigned mask, std::uint64_t bits, int source, Site site) {
  Shuffle mine{bits, 0, source, false};
  meet({name, kWarpLanes, mask, &mine, false, site}, exchange);
  if (!mine.present)
    Block::current()->fail(FindingKind::kWarp, [&] {
      return fmt::format("{} at {} reads lane {}, which does not take part: mask {:#x}", name, site.text(), source,
                         mask);
    });
  return mine.result;
}

std::uint32_t ballot(const char* name, unsigned mask, bool predicate, std::uint32_t& present, Site site) {
  Vote mine{predicate, 0, 0};
  meet({name, kWarpLanes, mask, &mine, false, site}, count_votes);
  present = mine.present;
  return mine.votes;
}

}  // namespace lastbit::simt

void __syncwarp(unsigned mask, lastbit::simt::Site site) {
  bool here = true;
  lastbit::simt::meet({"__syncwarp", lastbit::simt::kWarpLanes, mask, &here, true, site}, lastbit::simt::nothing);
}
