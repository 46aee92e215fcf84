// What a block may have, as on every GPU from sm_80 to sm_100 unless said otherwise.
#pragma once

#include <cstddef>

namespace lastbit::simt {

inline constexpr int kWarpLanes = 32;
inline constexpr int kMostThreads = 1024;
inline constexpr int kMostWarps = kMostThreads / kWarpLanes;
inline constexpr int kNamedBarriers = 16;
inline constexpr std::size_t kMostSharedBytes = 227 * 1024;  // of sm_90; sm_80 has 163 KiB
inline constexpr std::size_t kStaticSharedBytes = 48 * 1024;
// Threads of a warpgroup, which wgmma takes together (sm_90).
inline constexpr int kGroupThreads = 128;

}  // namespace lastbit::simt
