#include "sim/network/fold.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace lastbit::sim::network {
namespace {

// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every input bit moves every output bit.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

// Numbers 0, 1, ... for values in the order in which they are first seen. Open addressing: most flows find the class
// of the flow before them at the first probe.
class Numbering {
 public:
  std::uint32_t number(std::uint64_t value) {
    if (2 * values_.size() >= slots_.size()) grow();
    std::size_t slot = value & (slots_.size() - 1);
    while (slots_[slot] != kEmpty) {
      if (values_[slots_[slot]] == value) return slots_[slot];
      slot = (slot + 1) & (slots_.size() - 1);
    }
    slots_[slot] = static_cast<std::uint32_t>(values_.size());
    values_.push_back(value);
    return slots_[slot];
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  static constexpr std::uint32_t kEmpty = UINT32_MAX;

  void grow() {
    slots_.assign(std::max<std::size_t>(64, 4 * slots_.size()), kEmpty);
    for (std::uint32_t i = 0; i < values_.size(); ++i) {
      std::size_t slot = values_[i] & (slots_.size() - 1);
      while (slots_[slot] != kEmpty) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = i;
    }
  }

  std::vector<std::uint32_t> slots_;
  std::vector<std::uint64_t> values_;
};

class Refinement {
 public:
  Refinement(const LinkList& links, const FlowList& flows, const Prepared& prepared)
      : flows_(flows),
        prepared_(prepared),
        colour_(links.size()),
        mixed_(links.size()),
        sum_(links.size()),
        used_(links.size()) {
    for (std::size_t link = 0; link < links.size(); ++link) colour(link, mix(bits(links.capacity[link])));
  }

  // Refines until the partition of the links stands. False when it is too fine to be of use.
  bool run() {
    std::size_t classes = 0;
    while (true) {
      refine();
      const std::size_t now = count();
      if (2 * now > num_used_) return false;
      if (now == classes) return true;
      classes = now;
    }
  }

  [[nodiscard]] bool used(std::size_t link) const { return used_[link] != 0; }
  [[nodiscard]] std::uint64_t link_colour(std::size_t link) const { return colour_[link]; }

  // Calls with each flow and its colour: a function of what the flow is and of the colours of its links, whatever
  // their order.
  template <typename Call>
  void each_flow(Call&& call) const {
    double bytes = 0;
    double active_s = 0;
    std::uint64_t own = 0;
    for (std::size_t flow = 0; flow < flows_.size(); ++flow) {
      if (flow == 0 || flows_.bytes(flow) != bytes || prepared_.active_s[flow] != active_s) {  // most are as the last
        bytes = flows_.bytes(flow);
        active_s = prepared_.active_s[flow];
        own = mix(mix(bits(bytes)) ^ bits(active_s));
      }
      std::uint64_t sum = prepared_.weight.empty() ? own : mix(own ^ bits(prepared_.weight[flow]));
      for (const std::uint32_t link : flows_.route(flow)) sum += mixed_[link];
      call(flow, mix(sum));
    }
  }

 private:
  void colour(std::size_t link, std::uint64_t value) {
    colour_[link] = value;
    mixed_[link] = mix(value);
  }

  void refine() {
    std::fill(sum_.begin(), sum_.end(), 0);
    each_flow([this](std::size_t flow, std::uint64_t its) {
      for (const std::uint32_t link : flows_.route(flow)) {
        sum_[link] += its;
        used_[link] = 1;
      }
    });
    for (std::size_t link = 0; link < sum_.size(); ++link) colour(link, mix(colour_[link] ^ mix(sum_[link])));
  }

  std::size_t count() {
    Numbering numbering;
    num_used_ = 0;
    for (std::size_t link = 0; link < colour_.size(); ++link) {
      if (used_[link] == 0) continue;
      ++num_used_;
      (void)numbering.number(colour_[link]);
    }
    return numbering.size();
  }

  const FlowList& flows_;
  const Prepared& prepared_;
  std::vector<std::uint64_t> colour_;
  std::vector<std::uint64_t> mixed_;  // mix() of those
  std::vector<std::uint64_t> sum_;
  std::vector<std::uint8_t> used_;
  std::size_t num_used_ = 0;
};

// Whether the classes are equitable, by hashes that have nothing to do with the colours they were made from.
bool equitable(const FlowList& flows, const Prepared& prepared, const LinkList& links, const Folding& folding) {
  const auto key = [](std::uint32_t number) {
    return mix(std::uint64_t{0xD1B54A32D192ED03U} * (std::uint64_t{number} + 1));
  };
  std::vector<std::uint64_t> links_of_class(folding.first_flow.size());
  std::vector<std::uint64_t> flows_of_link(links.size());
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    const std::uint32_t its = folding.class_of_flow[flow];
    const std::uint32_t first = folding.first_flow[its];
    std::uint64_t sum = 0;
    for (const std::uint32_t link : flows.route(flow)) {
      sum += key(folding.class_of_link[link]);
      flows_of_link[link] += key(its);
    }
    if (first == flow) links_of_class[its] = sum;
    const bool same = links_of_class[its] == sum && flows.bytes(flow) == flows.bytes(first) &&
                      prepared.active_s[flow] == prepared.active_s[first] &&
                      (prepared.weight.empty() || prepared.weight[flow] == prepared.weight[first]);
    if (!same) return false;
  }
  std::vector<std::uint64_t> flows_of_class(folding.capacity.size());
  std::vector<bool> seen(folding.capacity.size());
  for (std::size_t link = 0; link < links.size(); ++link) {
    const std::uint32_t its = folding.class_of_link[link];
    if (its == Folding::kUnused) continue;
    if (!seen[its]) flows_of_class[its] = flows_of_link[link];
    seen[its] = true;
    if (flows_of_class[its] != flows_of_link[link] || folding.capacity[its] != links.capacity[link]) return false;
  }
  return true;
}

}  // namespace

std::optional<Folding> fold(const LinkList& links, const FlowList& flows, const Prepared& prepared) {
  Refinement refinement(links, flows, prepared);
  if (!refinement.run()) return std::nullopt;
  Folding folding;
  Numbering flow_classes;
  folding.class_of_flow.resize(flows.size());
  refinement.each_flow([&](std::size_t flow, std::uint64_t colour) {
    const std::uint32_t its = flow_classes.number(colour);
    folding.class_of_flow[flow] = its;
    if (its == folding.first_flow.size()) {
      folding.first_flow.push_back(static_cast<std::uint32_t>(flow));
      folding.flows_in_class.push_back(0);
    }
    ++folding.flows_in_class[its];
  });
  if (2 * folding.first_flow.size() > flows.size()) return std::nullopt;
  Numbering link_classes;
  folding.class_of_link.assign(links.size(), Folding::kUnused);
  for (std::size_t link = 0; link < links.size(); ++link) {
    if (!refinement.used(link)) continue;
    const std::uint32_t its = link_classes.number(refinement.link_colour(link));
    folding.class_of_link[link] = its;
    if (its == folding.capacity.size()) {
      folding.capacity.push_back(links.capacity[link]);
      folding.links_in_class.push_back(0);
    }
    ++folding.links_in_class[its];
  }
  if (!equitable(flows, prepared, links, folding)) return std::nullopt;
  return folding;
}

}  // namespace lastbit::sim::network
