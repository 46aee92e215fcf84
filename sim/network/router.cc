#include "sim/network/router.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace lastbit::sim::network {
namespace {

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
std::uint64_t hash_pair(std::uint64_t seed, std::uint32_t from, std::uint32_t to) {
  std::uint64_t value = ((std::uint64_t{from} << 32U) | to) + (seed + 1) * 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

}  // namespace

Router::Router(const Fabric& fabric, std::uint64_t seed) : fabric_(fabric), seed_(seed) {
  if (fabric.cluster().network.routing == cluster::Routing::kAdaptive) load_.assign(fabric.links().size(), 0.0);
}

bool Router::path_alive(const Fabric::Way& way, std::uint32_t choice) {
  path_.clear();
  fabric_.topology().path(way.from_nic, way.to_nic, choice, path_);
  return std::all_of(path_.begin(), path_.end(), [this](std::uint32_t link) { return fabric_.alive(link); });
}

double Router::fullest(const Fabric::Way& way, std::uint32_t choice) {
  path_.clear();
  fabric_.topology().path(way.from_nic, way.to_nic, choice, path_);
  double most = 0;
  for (const std::uint32_t link : path_) most = std::max(most, load_[link]);
  return most;
}

std::uint32_t Router::choose(const Fabric::Way& way) {
  const std::uint32_t all = fabric_.topology().choices(way.from_nic, way.to_nic);
  const cluster::Network& network = fabric_.cluster().network;
  const bool failures = !network.failed_links.empty();
  usable_.clear();
  for (std::uint32_t choice = 0; failures && choice < all; ++choice)
    if (path_alive(way, choice)) usable_.push_back(choice);
  const auto num = failures ? static_cast<std::uint32_t>(usable_.size()) : all;
  if (num == 0)
    core::fail_input("{}: no path from NIC {} to NIC {}: every one of {} crosses a failed link", fabric_.cluster().name,
                     way.from_nic, way.to_nic, all);
  const auto nth = [&](std::uint64_t i) { return failures ? usable_[i % num] : static_cast<std::uint32_t>(i % num); };
  if (num == 1) return nth(0);
  if (network.routing == cluster::Routing::kStatic) return nth(way.to_nic);
  const std::uint64_t hash = hash_pair(seed_, way.from_nic, way.to_nic);
  if (network.routing == cluster::Routing::kEcmp) return nth(hash);
  std::uint32_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  const std::uint64_t first = num > kAdaptiveTries ? hash % num : 0;
  for (std::uint32_t i = 0; i < std::min(num, kAdaptiveTries); ++i) {
    const std::uint32_t choice = nth(first + i);
    const double most = fullest(way, choice);
    if (most < least) {
      least = most;
      best = choice;
    }
  }
  return best;
}

void Router::route(std::uint32_t from, std::uint32_t to, double bytes, std::vector<std::uint32_t>& links) {
  links.clear();
  if (std::max(from, to) >= fabric_.num_gpus())
    core::fail_input("{}: found GPU {}, expected 0 to {}", fabric_.cluster().name, std::max(from, to),
                     fabric_.num_gpus() - 1);
  if (from == to) return;
  if (fabric_.node_of(from) == fabric_.node_of(to)) {
    fabric_.append_nvlink(from, to, links);
  } else {
    const Fabric::Way way = fabric_.way(from, to);
    const std::uint32_t choice = choose(way);
    if (way.from_gpu != from) fabric_.append_nvlink(from, way.from_gpu, links);
    fabric_.append_way(way, choice, links);
    if (way.to_gpu != to) fabric_.append_nvlink(way.to_gpu, to, links);
  }
  if (load_.empty()) return;
  for (const std::uint32_t link : links) load_[link] += bytes / fabric_.links().capacity[link];
}

}  // namespace lastbit::sim::network
