// How busy the links of each pipeline rank are over a step.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <vector>

#include "sim/train/phase.h"

namespace lastbit::sim::train {

enum class LinkWork {
  kNvlinkExperts,   // all-to-alls inside the node
  kNicExperts,      // between nodes
  kNvlinkExchange,  // among tensor- and context-parallel ranks
  kNicExchange,
  kPipeline,   // activations and their gradients to the neighbours
  kGradients,  // reduction and gathering, both networks
};
inline constexpr std::size_t kNumLinkWorks = 6;
inline constexpr std::array<const char*, kNumLinkWorks> kLinkWorkNames{
    "NVLink, experts", "NIC, experts", "NVLink, tensor and context", "NIC, context", "pipeline", "gradients"};

// Seconds that a GPU of each pipeline rank would send at the attainable rate of its link (token-sized messages at their
// own), [pipeline ranks][works]: over the step's seconds, how busy the link is. Every GPU of a rank sends the same.
using LinkUse = std::vector<std::array<double, kNumLinkWorks>>;

// Micro-batches whose forward a pipeline rank runs, by stage.
[[nodiscard]] std::map<int, double> forwards_of(const schedule::Schedule& lists, int rank);

[[nodiscard]] LinkUse link_use(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                               const PhaseForecast& forecast);

}  // namespace lastbit::sim::train
