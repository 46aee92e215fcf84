// Folding of flows that cannot be told apart into classes, of each of which one stands for all.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/network/flow_list.h"
#include "sim/network/sharing.h"

namespace lastbit::sim::network {

// Classes of links and flows such that all links of a class have the same capacity and carry the same number of flows
// of each class, and all flows of a class have the same size, weight and begin, and cross the same number of links of
// each class: an equitable partition. Max-min rates are unique, so they are the same within a class, and the small
// problem with one flow and one link a class has them.
struct Folding {
  std::vector<std::uint32_t> class_of_flow;
  std::vector<std::uint32_t> flows_in_class;
  std::vector<std::uint32_t> first_flow;     // of each class, in rising order
  std::vector<std::uint32_t> class_of_link;  // kUnused: no flow crosses it
  std::vector<std::uint32_t> links_in_class;
  std::vector<double> capacity;  // of each class: that of one of its links

  static constexpr std::uint32_t kUnused = UINT32_MAX;
};

// The coarsest such partition, by refining colours until nothing changes (Weisfeiler and Leman) with 64-bit hashes,
// which a second pass with other hashes then proves equitable. Nothing when folding would not make the problem at
// least twice as small.
[[nodiscard]] std::optional<Folding> fold(const LinkList& links, const FlowList& flows, const Prepared& prepared);

}  // namespace lastbit::sim::network
