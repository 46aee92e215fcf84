// Shuffles, votes and barriers of a warp on the host. A thread of the mask that has ended is not waited for, as on a
// GPU; to read a value from it, or from a lane that the mask does not name, is a finding.
#pragma once

#include <cstdint>

#include "kernels/simt/language.h"
#include "kernels/simt/meeting.h"

namespace lastbit::simt {

[[nodiscard]] int this_lane();

// `bits` of lane `source`.
[[nodiscard]] std::uint64_t shuffle(const char* name, unsigned mask, std::uint64_t bits, int source, Site site);

// In registers, which are no memory to be watched.
template <typename T>
T shuffled(const char* name, unsigned mask, T value, int source, Site site) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(name, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Bit i: lane i came with a true predicate.
[[nodiscard]] std::uint32_t ballot(const char* name, unsigned mask, bool predicate, std::uint32_t& present, Site site);

}  // namespace lastbit::simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  const int base = lastbit::simt::this_lane() / width * width;
  return lastbit::simt::shuffled("__shfl_sync", mask, value, base + lane % width, site);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  const int own = lastbit::simt::this_lane();
  const int other = own ^ lanes;
  return lastbit::simt::shuffled("__shfl_xor_sync", mask, value, other / width == own / width ? other : own, site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                   lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  const int own = lastbit::simt::this_lane();
  const int other = own + static_cast<int>(lanes);
  return lastbit::simt::shuffled("__shfl_down_sync", mask, value, other / width == own / width ? other : own, site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                 lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  const int own = lastbit::simt::this_lane();
  const int other = own - static_cast<int>(lanes);
  const bool inside = other >= 0 && other / width == own / width;
  return lastbit::simt::shuffled("__shfl_up_sync", mask, value, inside ? other : own, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  std::uint32_t present = 0;
  return lastbit::simt::ballot("__ballot_sync", mask, predicate != 0, present, site);
}
inline int __any_sync(unsigned mask, int predicate, lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  std::uint32_t present = 0;
  return lastbit::simt::ballot("__any_sync", mask, predicate != 0, present, site) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()}) {
  std::uint32_t present = 0;
  const std::uint32_t votes = lastbit::simt::ballot("__all_sync", mask, predicate != 0, present, site);
  return votes == present ? 1 : 0;
}

void __syncwarp(unsigned mask = 0xffffffffU, lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()});
