#include "sim/network/crossbar.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace lastbit::sim::network {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
// Matrices of ports by ports: beyond this they leave the cache, and below this there is nothing to win.
constexpr std::size_t kMostPorts = 512;
constexpr std::size_t kFewestFlows = 32;
// One port's capacity to another's: what rounding makes of the fast one's is a ten-thousandth of the slow one's then.
constexpr double kWidestRatio = 1e12;

// Whether half of the flows or more are not as large as the one before.
bool sizes_differ(const FlowList& flows, std::span<const std::uint32_t> members) {
  std::size_t others = 0;
  for (std::size_t i = 1; i < members.size(); ++i)
    others += flows.bytes(members[i]) != flows.bytes(members[i - 1]) ? 1 : 0;
  return 2 * others >= members.size();
}

template <typename Visit>
void for_each_bit(const std::vector<std::uint64_t>& bits, std::size_t count, Visit visit) {
  for (std::size_t begin = 0; begin < count; begin += 64)
    for (std::uint64_t left = bits[begin / 64]; left != 0; left &= left - 1)
      visit(static_cast<std::uint32_t>(begin) + static_cast<std::uint32_t>(std::countr_zero(left)));
}

}  // namespace

Crossbar::Crossbar(const CrossbarPorts& ports)
    : levels_(ports.first, ports.second), port_(ports.port), clocks_(levels_.links()), inner_(ports.inner) {
  width_[1] = levels_.second_side();
  width_[0] = levels_.links() - width_[1];
  const std::size_t links = levels_.links();
  finish_.assign(2 * width_[0] * width_[1], kNever);
  for (std::size_t link = 0; link < links; ++link)
    row_.push_back(link == 0 ? 0 : row_.back() + (link - 1 < width_[1] ? width_[0] : width_[1]));
  number_.assign(width_[0] * width_[1], 0);
  rescanned_.assign(links, false);
  ended_.resize(links / 64 + 1);
}

double& Crossbar::finish(std::uint32_t owner, std::uint32_t other) {
  return finish_[row_[owner] + (owner < width_[1] ? other - width_[1] : other)];
}

std::uint32_t Crossbar::begin(const SharedFlow& flow, std::span<const std::uint32_t> route, double now_s) {
  if (now_s > clocks_.now_s) {
    if (stale_) settle();
    advance_clocks(clocks_, levels_.level().data(), now_s);
  }
  const std::uint32_t from = port_[route.front()];
  const std::uint32_t to = port_[route.back()] + static_cast<std::uint32_t>(width_[1]);
  number_[from * width_[0] + to - width_[1]] = flows_;
  levels_.add(from, to);
  begun_.push_back({from, to, flow.bytes});
  inner_.begin(from, to);
  for (const std::uint32_t link : route.subspan(1, route.size() - 2)) inner_.cross(port_[link]);
  stale_ = true;
  return flows_++;
}

double Crossbar::next_completion_s() {
  if (stale_) settle();
  return clocks_.first_s;
}

void Crossbar::complete(std::vector<std::uint32_t>& done) {
  const double finish_s = next_completion_s();
  if (finish_s == kNever) return;
  advance_clocks(clocks_, levels_.level().data(), std::max(clocks_.now_s, finish_s));
  for_each_bit(clocks_.due, levels_.links(), [&](std::uint32_t link) { end_first_flows(link, done); });
  stale_ = true;
}

void Crossbar::end_first_flows(std::uint32_t link, std::vector<std::uint32_t>& done) {
  const bool first = link < width_[1];
  const std::size_t others = first ? width_[0] : width_[1];
  double* row = finish_.data() + row_[link];
  clocks_.earliest[link] = take_out(row, others, clocks_.earliest[link], ended_.data());
  for_each_bit(ended_, others, [&](std::uint32_t other) {
    const std::uint32_t from = first ? link : other;
    const std::uint32_t column = first ? other : link - static_cast<std::uint32_t>(width_[1]);
    done.push_back(number_[from * width_[0] + column]);
    inner_.end(done.back());
    levels_.remove(from, column + static_cast<std::uint32_t>(width_[1]));
  });
}

// Flows that changed owners in the last update, from the clock of the owner of before to that of the owner of now.
void Crossbar::hand_over() {
  const double* service = clocks_.service.data();
  double* earliest = clocks_.earliest.data();
  double* readings = finish_.data();
  const std::size_t* row = row_.data();
  const std::size_t second_side = width_[1];
  const auto place = [second_side](std::uint32_t link) { return link < second_side ? link : link - second_side; };
  for (const auto& [before, owner] : levels_.moved()) {
    double& old = readings[row[before] + place(owner)];
    double& own = readings[row[owner] + place(before)];
    if (old == earliest[before]) look_again(before);
    own = service[owner] + std::max(0.0, old - service[before]);
    old = kNever;
    earliest[owner] = std::min(earliest[owner], own);
  }
}

// The link's first flow is no longer its own.
void Crossbar::look_again(std::uint32_t link) {
  if (rescanned_[link]) return;
  rescanned_[link] = true;
  rescans_.push_back(link);
}

// Levels, clocks and completions of now.
void Crossbar::settle() {
  stale_ = false;
  levels_.update();
  hand_over();
  for (const Begun& flow : begun_) {
    const bool by_first = levels_.owned_by_first(flow.from, flow.to);
    const std::uint32_t owner = by_first ? flow.from : flow.to;
    double& own = finish(owner, by_first ? flow.to : flow.from);
    own = clocks_.service[owner] + flow.bytes;
    clocks_.earliest[owner] = std::min(clocks_.earliest[owner], own);
  }
  begun_.clear();
  for (const std::uint32_t link : rescans_) {
    clocks_.earliest[link] = least_reading(finish_.data() + row_[link], link < width_[1] ? width_[0] : width_[1]);
    rescanned_[link] = false;
  }
  rescans_.clear();
  find_finishes(clocks_, levels_.level().data());
  inner_link_overloaded_ = inner_link_overloaded_ || inner_.overloaded(levels_);
}

CrossbarPorts crossbar_ports(const FlowList& flows, std::span<const std::uint32_t> members,
                             std::span<const std::uint32_t> local_link, std::span<const double> capacity) {
  if (members.size() < kFewestFlows) return {};
  CrossbarPorts ports;
  ports.port.assign(capacity.size(), 0);
  std::vector<const std::vector<double>*> place_of(capacity.size(), nullptr);
  // False if the link has another place already.
  const auto put = [&](std::uint32_t link, std::vector<double>& place) {
    if (place_of[link] == nullptr) {
      place_of[link] = &place;
      ports.port[link] = static_cast<std::uint32_t>(place.size());
      place.push_back(capacity[link]);
    }
    return place_of[link] == &place;
  };
  std::vector<std::uint32_t> last_crossed(capacity.size(), UINT32_MAX);  // by which flow
  bool one_by_one = false;                                               // as far as is known
  for (const std::uint32_t flow : members) {
    const auto route = flows.route(flow);
    if (route.size() < 2) return {};
    if (route.size() > 2 && !one_by_one) {
      one_by_one = sizes_differ(flows, members);
      if (!one_by_one) return {};
    }
    if (!put(local_link[route.front()], ports.first) || !put(local_link[route.back()], ports.second)) return {};
    if (std::max(ports.first.size(), ports.second.size()) > kMostPorts) return {};
    for (const std::uint32_t inner : route.subspan(1, route.size() - 2)) {
      const std::uint32_t link = local_link[inner];
      if (!put(link, ports.inner) || std::exchange(last_crossed[link], flow) == flow) return {};
    }
  }
  if (4 * members.size() < ports.first.size() * ports.second.size()) return {};
  const auto [slowest, fastest] = std::ranges::minmax(ports.first);
  const auto [slowest_in, fastest_in] = std::ranges::minmax(ports.second);
  if (std::max(fastest, fastest_in) > kWidestRatio * std::min(slowest, slowest_in)) return {};
  std::vector<bool> taken(ports.first.size() * ports.second.size());
  for (const std::uint32_t flow : members) {
    const auto route = flows.route(flow);
    const std::size_t pair =
        ports.port[local_link[route.front()]] * ports.second.size() + ports.port[local_link[route.back()]];
    if (taken[pair]) return {};
    taken[pair] = true;
  }
  return ports;
}

}  // namespace lastbit::sim::network
