// What makes a step longer than its matrix products: causes that a forecast can do without, one at a time, to say what
// each of them adds.
#pragma once

#include <array>
#include <cstddef>

namespace lastbit::sim::cost {

enum class Cause {
  kExpertTransfers,    // all-to-alls and the waits before them
  kTensorExchange,     // among tensor-parallel ranks
  kContextExchange,    // among context-parallel ranks
  kPipelineTransfers,  // between stages
  kGradientTraffic,    // reduction of gradients, gathering of parameters
  kOptimizerUpdate,    // moments and masters through memory
  kCommunicationSms,   // SMs that communication takes from compute
  kLaunchGaps,         // between kernels
  kMemoryBound,        // norms, casts, activations, permutations
  kRecomputation,
  kEnds,       // embedding, head and MTP modules' ends
  kImbalance,  // of routing: the busiest rank over the mean
  kJitter,
};
inline constexpr std::size_t kNumCauses = 13;
inline constexpr std::array<const char*, kNumCauses> kCauseNames{"expert all-to-all",
                                                                 "tensor-parallel exchange",
                                                                 "context-parallel exchange",
                                                                 "pipeline transfers",
                                                                 "gradient traffic",
                                                                 "optimiser update",
                                                                 "SMs kept by communication",
                                                                 "launch gaps",
                                                                 "memory-bound kernels",
                                                                 "recomputation",
                                                                 "embedding, head, MTP ends",
                                                                 "routing imbalance",
                                                                 "jitter"};

// The causes that are left out.
class Without {
 public:
  Without() = default;
  explicit Without(Cause cause) { out_[static_cast<std::size_t>(cause)] = true; }
  [[nodiscard]] bool operator[](Cause cause) const { return out_[static_cast<std::size_t>(cause)]; }

 private:
  std::array<bool, kNumCauses> out_{};
};

}  // namespace lastbit::sim::cost
