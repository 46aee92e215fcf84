#include "sim/network/crossbar.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "core/philox.h"
#include "numerics/vector_target.h"
#include "sim/network/crossbar_clocks.h"
#include "sim/network/progressive_filling.h"
#include "sim/network/solve.h"

namespace lastbit::sim::network {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Progressive filling of one state: the links' levels, infinity where a link is not full.
std::vector<double> plain_levels(const std::vector<double>& capacity,
                                 std::vector<std::pair<std::uint32_t, std::uint32_t>> flows) {
  std::vector<double> left = capacity;
  std::vector<double> level(capacity.size(), kInfinity);
  while (!flows.empty()) {
    std::vector<double> open(capacity.size(), 0);
    for (const auto& [from, to] : flows) {
      open[from] += 1;
      open[to] += 1;
    }
    std::size_t fullest = 0;
    double least_level = kInfinity;
    for (std::size_t link = 0; link < capacity.size(); ++link)
      if (open[link] > 0 && left[link] / open[link] < least_level) least_level = left[fullest = link] / open[link];
    level[fullest] = least_level;
    std::erase_if(flows, [&](const auto& flow) {
      if (flow.first != fullest && flow.second != fullest) return false;
      left[flow.first] -= least_level;
      left[flow.second] -= least_level;
      return true;
    });
  }
  return level;
}

// What is wrong with the order of links, if anything: who owns flows stands first, an owner before a faster link.
std::string fault_of_order(const CrossbarLevels& levels,
                           const std::vector<std::pair<std::uint32_t, std::uint32_t>>& flows) {
  std::vector<double> owned(levels.links(), 0);
  for (const auto& [from, to] : flows) {
    const bool by_first = levels.owned_by_first(from, to);
    const std::uint32_t owner = by_first ? from : to;
    const std::uint32_t other = by_first ? to : from;
    owned[owner] += 1;
    if (levels.owned()[other] > 0 && levels.level()[owner] > levels.level()[other] * (1 + 1e-12))
      return fmt::format("{} owns the flow with {}", owner, other);
  }
  for (std::uint32_t link = 0; link < levels.links(); ++link)
    if (owned[link] != levels.owned()[link]) return fmt::format("{} owns {} flows", link, owned[link]);
  double highest = 0;
  for (std::size_t place = 0; place < levels.links(); ++place) {
    const std::uint32_t link = levels.in_order(place);
    if ((owned[link] > 0) != (place < levels.owning())) return fmt::format("{} at {}", link, place);
    if (owned[link] == 0) {
      if (levels.level()[link] != 0) return fmt::format("{} owns nothing and has a level", link);
      continue;
    }
    highest = std::max(highest, levels.level()[link]);
    if (std::abs(levels.highest_up_to(place) - highest) > 1e-12 * highest) return fmt::format("highest at {}", place);
  }
  return "";
}

// Flows come and go in any order: levels are those of a filling from the start.
RC_GTEST_PROP(CrossbarLevels, AreThoseOfAFilling, ()) {
  const auto ports = *rc::gen::inRange<std::size_t>(1, 12);
  std::vector<double> first(ports);
  std::vector<double> second(ports);
  for (double& value : first) value = *rc::gen::inRange(1, 6);
  for (double& value : second) value = *rc::gen::inRange(1, 6);
  CrossbarLevels levels(first, second);
  std::vector<double> capacity(levels.links(), 1);
  std::copy(first.begin(), first.end(), capacity.begin());
  std::copy(second.begin(), second.end(), capacity.begin() + static_cast<std::ptrdiff_t>(levels.second_side()));
  std::vector<std::pair<std::uint32_t, std::uint32_t>> flows;
  const auto changes = *rc::gen::inRange(1, 80);
  for (int change = 0; change < changes; ++change) {
    const auto from = static_cast<std::uint32_t>(*rc::gen::inRange<std::size_t>(0, ports));
    const auto to = static_cast<std::uint32_t>(levels.second_side() + *rc::gen::inRange<std::size_t>(0, ports));
    const auto found = std::find(flows.begin(), flows.end(), std::pair{from, to});
    if (found == flows.end()) {
      levels.add(from, to);
      flows.emplace_back(from, to);
    } else {
      levels.remove(from, to);
      flows.erase(found);
    }
    if (*rc::gen::inRange(0, 3) == 0) continue;  // several at once
    levels.update();
    RC_ASSERT(fault_of_order(levels, flows) == "");
    const std::vector<double> expected = plain_levels(capacity, flows);
    for (const auto& [a, b] : flows) {
      const std::uint32_t owner = levels.owned_by_first(a, b) ? a : b;
      const double rate = std::min(expected[a], expected[b]);
      RC_ASSERT(std::abs(levels.level()[owner] - rate) <= 1e-11 * rate);
    }
  }
}

// A fast port that owned nothing comes to own flows of fast ones, and leaves a slow one before it alone.
TEST(CrossbarLevels, AFastPortLeavesASlowOneItsDigits) {
  CrossbarLevels levels({3e9, 2, 1e9}, {2e9, 2, 2e9});
  const auto second_side = static_cast<std::uint32_t>(levels.second_side());
  for (std::uint32_t from = 0; from < 3; ++from)
    for (std::uint32_t to = 0; to < 3; ++to) levels.add(from, second_side + to);
  levels.update();
  levels.remove(2, second_side);
  levels.update();
  ASSERT_TRUE(levels.owned_by_first(1, second_side));
  EXPECT_DOUBLE_EQ(levels.level()[1], 2.0 / 3);
}

// Sides of whole words of bits, of more and of less than one, of very different lengths; the last two of ports that are
// level with one another but for rounding.
TEST(CrossbarLevels, OfManyPortsAreThoseOfAFilling) {
  for (const auto& [num_first, num_second, step] : {std::tuple{64U, 64U, 1.0},
                                                    {70U, 9U, 1.0},
                                                    {9U, 70U, 1.0},
                                                    {66U, 130U, 1.0},
                                                    {64U, 64U, 3e-14},
                                                    {14U, 14U, 3e-14}}) {
    const core::RandomStream drawn(1, "crossbar");
    std::uint64_t draws = 0;
    const auto draw = [&](std::uint32_t below) { return drawn.word(draws++) % below; };
    std::vector<double> first(num_first);
    std::vector<double> second(num_second);
    for (double& value : first) value = 1 + step * draw(9);
    for (double& value : second) value = 1 + step * draw(9);
    CrossbarLevels levels(first, second);
    const auto second_side = static_cast<std::uint32_t>(levels.second_side());
    std::vector<double> capacity(levels.links(), 1);
    std::ranges::copy(first, capacity.begin());
    std::ranges::copy(second, capacity.begin() + second_side);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> flows;
    for (std::uint32_t from = 0; from < num_first; ++from)
      for (std::uint32_t to = 0; to < num_second; ++to)
        if (draw(4) != 0) flows.emplace_back(from, second_side + to);
    for (const auto& [from, to] : flows) levels.add(from, to);
    while (!flows.empty()) {
      levels.update();
      ASSERT_EQ(fault_of_order(levels, flows), "") << flows.size() << " flows left of " << num_first;
      if (flows.size() % 31 == 0 || flows.size() < 30) {
        const std::vector<double> expected = plain_levels(capacity, flows);
        for (const auto& [from, to] : flows) {
          const std::uint32_t owner = levels.owned_by_first(from, to) ? from : to;
          const double rate = std::min(expected[from], expected[to]);
          ASSERT_NEAR(levels.level()[owner], rate, 1e-11 * rate) << flows.size() << " flows left of " << num_first;
        }
      }
      for (std::uint32_t ends = 1 + draw(10); ends > 0 && !flows.empty(); --ends) {
        std::swap(flows[draw(static_cast<std::uint32_t>(flows.size()))], flows.back());
        levels.remove(flows.back().first, flows.back().second);
        flows.pop_back();
      }
    }
  }
}

// An all-to-all of random sizes, begun at random times: completions as the plain twin's.
RC_GTEST_PROP(Crossbar, CompletionsAreThoseOfThePlainTwin, ()) {
  const auto ports = *rc::gen::inRange<std::uint32_t>(9, 14);
  LinkList links;
  FlowList flows;
  for (std::uint32_t link = 0; link < 2 * ports; ++link) links.add(*rc::gen::inRange(1, 4), 0);
  const int late = *rc::gen::inRange(0, 3);
  for (std::uint32_t from = 0; from < ports; ++from)
    for (std::uint32_t to = 0; to < ports; ++to) {
      if (from == to || *rc::gen::inRange(0, 8) == 0) continue;
      const double start_s = late == 0 ? 0 : *rc::gen::inRange(0, 20);
      flows.add(start_s, *rc::gen::inRange(0, 30), std::vector{from, ports + to});
    }
  const std::vector<double> expected = progressive_filling(links, flows, Sharing::kMaxMin);
  const Answer answer = solve(links, flows, {.fold = false});
  RC_ASSERT(worst_relative_difference(answer.completion_s, expected) < 1e-9);
}

// Ports a million and a billion times as fast as others: what these have left is not lost in what those have.
RC_GTEST_PROP(Crossbar, PortsOfAnyCapacityKeepTheirShares, ()) {
  const auto ports = *rc::gen::inRange<std::uint32_t>(8, 14);
  LinkList links;
  FlowList flows;
  for (std::uint32_t link = 0; link < 2 * ports; ++link)
    links.add(*rc::gen::inRange(1, 4) * *rc::gen::element(1.0, 1.0, 1e6, 1e9), 0);
  links.add(1e30, 0);
  const bool late = *rc::gen::inRange(0, 2) == 0;
  for (std::uint32_t from = 0; from < ports; ++from)
    for (std::uint32_t to = 0; to < ports; ++to)
      flows.add(late ? *rc::gen::inRange(0, 20) : 0, *rc::gen::inRange(1, 100'000),
                std::vector{from, 2 * ports, ports + to});
  const std::vector<double> expected = progressive_filling(links, flows, Sharing::kMaxMin);
  const Answer answer = solve(links, flows, {.fold = false});
  RC_ASSERT(worst_relative_difference(answer.completion_s, expected) < 1e-9);
}

// The same over leaves and spines, where links between the ports are full at some time or never.
RC_GTEST_PROP(Crossbar, LinksBetweenThePortsCountWhenTheyAreFull, ()) {
  const auto leaves = *rc::gen::inRange<std::uint32_t>(2, 4);
  const std::uint32_t ports = 4 * leaves;
  const auto spines = *rc::gen::inRange<std::uint32_t>(1, 4);
  const auto inner_capacity = *rc::gen::element(1.0, 2.0, 3.0, 6.0, 100.0);
  LinkList links;
  FlowList flows;
  for (std::uint32_t link = 0; link < 2 * ports; ++link) links.add(*rc::gen::inRange(1, 4), 0);
  for (std::uint32_t link = 0; link < 2 * leaves * spines; ++link) links.add(inner_capacity, 0);
  const int late = *rc::gen::inRange(0, 3);
  for (std::uint32_t from = 0; from < ports; ++from)
    for (std::uint32_t to = 0; to < ports; ++to) {
      if (from == to || *rc::gen::inRange(0, 8) == 0) continue;
      const double start_s = late == 0 ? 0 : *rc::gen::inRange(0, 20);
      std::vector<std::uint32_t> route{from};
      if (from / 4 != to / 4) {
        const auto spine = *rc::gen::inRange<std::uint32_t>(0, spines);
        route.push_back(2 * ports + from / 4 * spines + spine);
        route.push_back(2 * ports + (leaves + to / 4) * spines + spine);
      }
      route.push_back(ports + to);
      flows.add(start_s, *rc::gen::inRange(0, 30), route);
    }
  const std::vector<double> expected = progressive_filling(links, flows, Sharing::kMaxMin);
  const Answer answer = solve(links, flows, {.fold = false});
  RC_ASSERT(worst_relative_difference(answer.completion_s, expected) < 1e-9);
}

TEST(InnerLinks, AreOverloadedByMoreThanTheyCanCarry) {
  CrossbarLevels levels(std::vector<double>(4, 8.0), std::vector<double>(4, 8.0));
  const auto second = static_cast<std::uint32_t>(levels.second_side());
  InnerLinks inner({100.0, 8.0, 6.0});
  std::uint32_t flow = 0;
  for (std::uint32_t from = 0; from < 4; ++from)
    for (std::uint32_t to = 0; to < 4; ++to, ++flow) {
      levels.add(from, second + to);
      inner.begin(from, second + to);
      inner.cross(0);
      if (flow < 3) inner.cross(1);
      if (flow >= 13) inner.cross(2);
    }
  levels.update();
  EXPECT_FALSE(inner.overloaded(levels));  // 16 flows of 2 on the first, 3 each on the others
  const auto end = [&](std::uint32_t from, std::uint32_t to) {
    levels.remove(from, second + to);
    inner.end(4 * from + to);
  };
  for (std::uint32_t to = 0; to < 3; ++to) end(3, to);
  levels.update();
  EXPECT_FALSE(inner.overloaded(levels));  // the last one from port 3 still has 2
  for (std::uint32_t from = 0; from < 2; ++from) end(from, 3);
  levels.update();
  EXPECT_FALSE(inner.overloaded(levels));  // 3 flows of 8 / 3 on the second, 6 on the third
  end(2, 3);
  levels.update();
  EXPECT_TRUE(inner.overloaded(levels));  // 8 on the third
}

// Ports of one side stand in any order.
TEST(InnerLinks, AreOverloadedByAFastPortBeforeASlowOne) {
  CrossbarLevels levels({8.0, 4.0}, {100.0, 100.0});
  const auto second = static_cast<std::uint32_t>(levels.second_side());
  InnerLinks inner({6.0});
  for (std::uint32_t port = 0; port < 2; ++port) {
    levels.add(port, second + port);
    inner.begin(port, second + port);
    if (port == 0) inner.cross(0);
  }
  levels.update();
  ASSERT_EQ(levels.in_order(0), 0u);
  EXPECT_TRUE(inner.overloaded(levels));
}

// A clock that stands at much already and goes on in small steps, as when other ports' flows end.
TEST(CrossbarClocks, KeepWhatManySmallStepsAddUpTo) {
  CrossbarClocks clocks(8);
  clocks.service.assign(8, 1e12);
  const PortValues level(8, 1.0);
  for (int step = 1; step <= 100'000; ++step) advance_clocks(clocks, level.data(), 0.1 * step);
  EXPECT_NEAR(clocks.service[0] - 1e12, 1e4, 0x1p-12);  // two units in the last place of 1e12
}

TEST(Crossbar, EveryInstructionSetGivesTheSameBits) {
  for (const auto& [ports, inner_capacity] : {std::pair{22U, 100.0}, {22U, 11.0}, {22U, 5.0}, {70U, 1000.0}}) {
    LinkList links;  // those between the ports: enough, not after 17 completions, never, enough
    FlowList flows;
    for (std::uint32_t link = 0; link < 2 * ports; ++link) links.add(1 + link % 3, 0);
    for (std::uint32_t link = 0; link < 4; ++link) links.add(inner_capacity, 0);
    std::uint32_t drawn = 1;
    for (std::uint32_t from = 0; from < ports; ++from)
      for (std::uint32_t to = 0; to < ports; ++to) {
        drawn = drawn * 1664525U + 1013904223U;
        flows.add(drawn >> 31U, 1 + drawn % 100000U, std::vector{from, 2 * ports + (from + to) % 4, ports + to});
      }
    const std::vector<double> fastest = solve(links, flows, {.fold = false}).completion_s;
    for (const std::string& target : numerics::vector_targets()) {
      numerics::use_vector_target(target);
      EXPECT_EQ(solve(links, flows, {.fold = false}).completion_s, fastest) << target;
    }
    numerics::use_vector_target("");
  }
}

TEST(CrossbarPorts, AreThoseOfASwitch) {
  LinkList links;
  for (int link = 0; link < 40; ++link) links.add(1, 0);
  const auto ports_of = [&links](const FlowList& flows) {
    std::vector<std::uint32_t> members(flows.size());
    std::iota(members.begin(), members.end(), 0U);
    std::vector<std::uint32_t> local(links.size());
    std::iota(local.begin(), local.end(), 0U);
    return crossbar_ports(flows, members, local, links.capacity);
  };
  FlowList all;
  for (std::uint32_t from = 0; from < 16; ++from)
    for (std::uint32_t to = 0; to < 16; ++to) all.add(0, 1, std::vector{from, 20 + to});
  EXPECT_EQ(ports_of(all).first.size(), 16u);
  EXPECT_EQ(ports_of(all).second.size(), 16u);
  links.capacity[20] = 2e12;
  EXPECT_TRUE(ports_of(all).first.empty());
  links.capacity[20] = 1;
  FlowList twice = all;
  twice.add(0, 1, std::vector{0u, 20u});
  EXPECT_TRUE(ports_of(twice).first.empty());
  FlowList around = all;
  around.add(0, 1, std::vector{20u, 0u});
  EXPECT_TRUE(ports_of(around).first.empty());
  FlowList farther = all;
  farther.add(0, 1, std::vector{0u, 17u, 37u});
  EXPECT_TRUE(ports_of(farther).first.empty());  // of equal sizes
  FlowList sizes;
  for (std::uint32_t from = 0; from < 16; ++from)
    for (std::uint32_t to = 0; to < 16; ++to) sizes.add(0, from + to, std::vector{from, 17u + from % 2, 20 + to});
  EXPECT_EQ(ports_of(sizes).second.size(), 16u);
  EXPECT_EQ(ports_of(sizes).inner.size(), 2u);
  FlowList circle = sizes;
  circle.add(0, 3, std::vector{16u, 17u, 18u, 17u, 20u});
  EXPECT_TRUE(ports_of(circle).first.empty());
  FlowList between = sizes;
  between.add(0, 3, std::vector{16u, 21u, 20u});
  EXPECT_TRUE(ports_of(between).first.empty());
}

}  // namespace
}  // namespace lastbit::sim::network
