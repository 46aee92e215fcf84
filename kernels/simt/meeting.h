// Operations that threads do together: a shuffle of a warp's lanes, a tensor core's instruction of a warp or warpgroup.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/simt/finding.h"
#include "kernels/simt/limits.h"

namespace lastbit::simt {

// What one thread brings.
struct MeetingCall {
  const char* name;    // "__shfl_sync"
  int threads;         // of the team: a warp's 32 or a warpgroup's 128, which begin at a multiple of as many
  std::uint32_t mask;  // the lanes of a warp that shall come; all for a warpgroup
  void* payload;       // of this thread
  bool orders_memory;  // what members wrote before is seen by the others after
  Site site;
};

struct Meeting {
  static constexpr std::size_t kWarps = kGroupThreads / kWarpLanes;

  MeetingCall call;                        // of who came first
  int first = 0;                           // thread of the team
  std::array<std::uint32_t, kWarps> came;  // lanes of each warp
  std::array<void*, kGroupThreads> payloads;

  // Null for a member that did not come: it has ended, or is not in the mask.
  template <typename Payload>
  [[nodiscard]] Payload* payload(int member) const {
    const auto i = static_cast<std::size_t>(member);
    return (came[i / kWarpLanes] >> i % kWarpLanes & 1U) != 0 ? static_cast<Payload*>(payloads[i]) : nullptr;
  }
};

// Called once all have come, before the first of them goes on: fills the payloads in.
using Finish = void (*)(const Meeting& meeting);

// Within a kernel: waits for the other members. Threads that have ended are not waited for. The team's operations must
// agree in name and mask, or that is a finding.
void meet(const MeetingCall& call, Finish finish);

}  // namespace lastbit::simt
